//! `/devices`: add, list, show, edit, delete, credentials.

mod body;
mod csv;
mod list;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use dormouse_core::access::{Grant, Permission};
use dormouse_core::device::{Device, DeviceSettings, SettingsEdit};
use dormouse_core::ids::DeviceId;
use dormouse_core::location;
use dormouse_core::ports::DeviceView;
use dormouse_core::secret::Secret;
use dormouse_core::services::registry::{Registry, RegistryError};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::auth::{By, forbidden};
use super::etag::{IfMatch, etag};
use super::{ApiJson, ApiPath, Problem, ProblemBody};

pub use body::DeviceBody;

/// What these routes work with.
#[derive(Clone)]
pub struct Devices {
    /// The devices.
    pub registry: Arc<Registry>,
    /// What other parts know of them by the second.
    pub view: Arc<dyn DeviceView>,
}

impl std::fmt::Debug for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Devices").finish_non_exhaustive()
    }
}

/// The routes.
pub fn router(devices: Devices) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list::list, add))
        .routes(routes!(csv::export, csv::import).layer(csv::body_limit()))
        .routes(routes!(show, edit, remove))
        .routes(routes!(rotate, revoke))
        .with_state(devices)
}

/// A device to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeviceNew {
    /// 1 to 32 letters, digits, `.`, `_` or `-`; never changed.
    device_id: String,
    /// A name for people, at most 64 characters.
    #[serde(default)]
    name: String,
    /// `building/floor/room`; where absent, what the id suggests.
    location: Option<String>,
    /// Number of sockets, 1 to 32.
    sockets: Option<u8>,
    /// Seconds between reports, where the device does not say itself.
    #[serde(rename = "periodS")]
    period_s: Option<u32>,
}

/// An edit of a device's settings; what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct SettingsRequest {
    /// A name for people, at most 64 characters.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String)]
    name: Option<String>,
    /// `building/floor/room`, or empty.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = String)]
    location: Option<String>,
    /// Number of sockets, 1 to 32; `null` where unknown.
    #[serde(deserialize_with = "present")]
    #[schema(value_type = Option<u8>)]
    sockets: Option<Option<u8>>,
    /// Seconds between reports, where the device does not say itself; `null` for none.
    #[serde(rename = "periodS", deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    period_s: Option<Option<u32>>,
}

/// Tells a field that is `null` from one that is absent.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl SettingsRequest {
    /// The edit, if its location lies where `grant` may manage.
    pub(super) fn into_edit(self, grant: &Grant) -> Result<SettingsEdit, Problem> {
        if let Some(location) = &self.location {
            check_place(grant, location)?;
        }
        Ok(SettingsEdit {
            name: self.name,
            location: self.location,
            sockets: self.sockets,
            period_s: self.period_s,
        })
    }
}

/// What a device signs in with.
#[derive(Debug, Serialize, ToSchema)]
struct CredentialsBody {
    /// The device's id.
    username: String,
    /// Shown this once.
    password: String,
}

impl CredentialsBody {
    fn new(id: &DeviceId, password: &Secret) -> Self {
        Self {
            username: id.as_str().to_owned(),
            password: password.expose().to_owned(),
        }
    }
}

/// A new device with its credentials.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceAdded {
    #[serde(flatten)]
    device: DeviceBody,
    credentials: CredentialsBody,
}

/// New credentials.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CredentialsRotated {
    device_id: String,
    credentials: CredentialsBody,
}

impl Devices {
    /// One device as the API shows it.
    pub(super) async fn body(&self, device: Arc<Device>) -> DeviceBody {
        let mut bodies = self.bodies(vec![device]).await;
        bodies.remove(0)
    }
}

/// Reads an id from a path.
pub(super) fn parse_id(text: &str) -> Result<DeviceId, Problem> {
    DeviceId::parse(text).map_err(Problem::from)
}

fn check_place(grant: &Grant, location: &str) -> Result<(), Problem> {
    if grant.allows_at(Permission::Manage, location) {
        Ok(())
    } else {
        Err(forbidden())
    }
}

/// Adds a device; its credentials are shown this once.
#[utoipa::path(
    post, path = "/devices", tag = "devices", request_body = DeviceNew,
    responses(
        (status = 201, body = DeviceAdded),
        (status = 409, description = "The id is taken", body = ProblemBody),
        (status = 422, body = ProblemBody),
    ),
)]
async fn add(
    State(devices): State<Devices>,
    by: By,
    ApiJson(request): ApiJson<DeviceNew>,
) -> Result<impl IntoResponse, Problem> {
    let id = DeviceId::parse(&request.device_id)
        .map_err(|error| Problem::invalid("/deviceId", error.to_string()))?;
    let suggested = || location::suggest(id.as_str()).unwrap_or_default();
    let settings = DeviceSettings {
        name: request.name,
        location: request.location.unwrap_or_else(suggested),
        sockets: request.sockets,
        period_s: request.period_s,
    };
    check_place(by.grant(), &settings.location)?;
    let (device, password) = devices.registry.add(&by.actor, &id, settings).await?;
    let version = device.version;
    let body = DeviceAdded {
        credentials: CredentialsBody::new(&id, &password),
        device: devices.body(device).await,
    };
    Ok((StatusCode::CREATED, [etag(version)], Json(body)))
}

/// Shows a device.
#[utoipa::path(
    get, path = "/devices/{deviceId}", tag = "devices", params(("deviceId" = String, Path)),
    responses(
        (status = 200, body = DeviceBody),
        (status = 404, body = ProblemBody),
    ),
)]
async fn show(
    State(devices): State<Devices>,
    ApiPath(id): ApiPath<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_id(&id)?;
    let device = devices.registry.by_id(&id);
    let device = device.ok_or(RegistryError::Unknown(id))?;
    let tag = etag(device.version);
    Ok(([tag], Json(devices.body(device).await)))
}

/// Edits a device's name, location, number of sockets or period.
#[utoipa::path(
    patch, path = "/devices/{deviceId}", tag = "devices", params(("deviceId" = String, Path)),
    request_body = SettingsRequest,
    responses(
        (status = 200, body = DeviceBody),
        (status = 404, body = ProblemBody),
        (status = 412, description = "If-Match names another version", body = ProblemBody),
        (status = 422, body = ProblemBody),
    ),
)]
async fn edit(
    State(devices): State<Devices>,
    by: By,
    ApiPath(id): ApiPath<String>,
    IfMatch(version): IfMatch,
    ApiJson(request): ApiJson<SettingsRequest>,
) -> Result<impl IntoResponse, Problem> {
    let id = parse_id(&id)?;
    let edit = request.into_edit(by.grant())?;
    let device = devices.registry.edit(&by.actor, &id, version, edit).await?;
    let tag = etag(device.version);
    Ok(([tag], Json(devices.body(device).await)))
}

/// Deletes a device and disconnects it; its history stays.
#[utoipa::path(
    delete, path = "/devices/{deviceId}", tag = "devices", params(("deviceId" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = ProblemBody),
        (status = 412, description = "If-Match names another version", body = ProblemBody),
    ),
)]
async fn remove(
    State(devices): State<Devices>,
    by: By,
    ApiPath(id): ApiPath<String>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let id = parse_id(&id)?;
    devices.registry.delete(&by.actor, &id, version).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replaces a device's credentials, shown this once, and disconnects it.
#[utoipa::path(
    post, path = "/devices/{deviceId}/credentials", tag = "devices",
    params(("deviceId" = String, Path)),
    responses(
        (status = 200, body = CredentialsRotated),
        (status = 404, body = ProblemBody),
        (status = 409, description = "It waits in the inbox", body = ProblemBody),
    ),
)]
async fn rotate(
    State(devices): State<Devices>,
    by: By,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<CredentialsRotated>, Problem> {
    let id = parse_id(&id)?;
    let password = devices.registry.rotate(&by.actor, &id).await?;
    Ok(Json(CredentialsRotated {
        credentials: CredentialsBody::new(&id, &password),
        device_id: id.into(),
    }))
}

/// Takes a device's credentials away and disconnects it.
#[utoipa::path(
    delete, path = "/devices/{deviceId}/credentials", tag = "devices",
    params(("deviceId" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = ProblemBody),
        (status = 409, description = "It waits in the inbox", body = ProblemBody),
    ),
)]
async fn revoke(
    State(devices): State<Devices>,
    by: By,
    ApiPath(id): ApiPath<String>,
) -> Result<StatusCode, Problem> {
    let id = parse_id(&id)?;
    devices.registry.revoke(&by.actor, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let text = error.to_string();
        let client = |status, kind, title| Self::client(status, kind, title, text.clone());
        match error {
            RegistryError::Unknown(_) => Self::not_found(text),
            RegistryError::Taken(_) => client(
                StatusCode::CONFLICT,
                "/problems/device-exists",
                "There is already such a device",
            ),
            RegistryError::Invalid(broken) => {
                let mut rules = broken.into_iter();
                let first = rules.next().map_or_else(
                    || Self::invalid("", text.as_str()),
                    |it| Self::invalid(format!("/{}", it.field), it.rule),
                );
                rules.fold(first, |problem, it| {
                    problem.field(format!("/{}", it.field), it.rule)
                })
            }
            RegistryError::Stale { .. } => client(
                StatusCode::PRECONDITION_FAILED,
                "/problems/stale-version",
                "Changed meanwhile",
            ),
            RegistryError::NotWaiting { .. } => client(
                StatusCode::CONFLICT,
                "/problems/not-waiting",
                "The device does not wait in the inbox",
            ),
            RegistryError::NotActive { .. } => client(
                StatusCode::CONFLICT,
                "/problems/not-approved",
                "The device is not approved",
            ),
            RegistryError::Contended => client(
                StatusCode::CONFLICT,
                "/problems/contended",
                "Changed at the same moment",
            ),
            RegistryError::Port(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
