//! `GET /devices`: filtered, searched, in pages.

use axum::Json;
use axum::extract::State;
use dormouse_core::device::DeviceState;
use dormouse_core::ids::DeviceId;
use dormouse_core::presence::PresenceState;
use dormouse_core::services::registry::DeviceFilter;
use serde::Deserialize;

use super::Devices;
use super::body::DeviceBody;
use crate::api::auth::By;
use crate::api::{ApiQuery, Page, Problem, ProblemBody, decode_cursor, encode_cursor, page_size};

/// Which devices; every parameter narrows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only in this state; `active` where absent, `pending` for the inbox.
    #[param(inline)]
    state: Option<DeviceState>,
    /// Only with this presence.
    #[param(inline)]
    presence: Option<PresenceState>,
    /// Only at this place or inside it, such as `A/3`.
    location: Option<String>,
    /// Only with this text in id, name or location, whatever its case.
    q: Option<String>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Devices on a page, 1 to 500.
    limit: Option<u32>,
}

/// Lists devices, in order of their ids.
#[utoipa::path(
    get, path = "/devices", tag = "devices", params(ListParams),
    responses(
        (status = 200, body = Page<DeviceBody>),
        (status = 422, body = ProblemBody),
    ),
)]
pub(super) async fn list(
    State(devices): State<Devices>,
    by: By,
    ApiQuery(params): ApiQuery<ListParams>,
) -> Result<Json<Page<DeviceBody>>, Problem> {
    let limit = usize::try_from(page_size(params.limit)?).unwrap_or(usize::MAX);
    let after: Option<DeviceId> = params.cursor.as_deref().map(decode_cursor).transpose()?;
    let filter = DeviceFilter {
        state: params.state.unwrap_or(DeviceState::Active),
        location: params.location,
        text: params.q,
        scope: by.grant().scope.clone(),
    };
    let wanted = params.presence;
    let view = &devices.view;
    let listing = devices
        .registry
        .list(&filter, after.as_ref(), limit, |key| {
            wanted.is_none_or(|it| it == view.presence(key).state)
        });
    Ok(Json(Page {
        next_cursor: listing.next.as_ref().map(encode_cursor),
        items: devices.bodies(listing.devices).await,
    }))
}
