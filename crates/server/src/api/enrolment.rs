//! `/enrolment` and the inbox: how unknown devices come in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::services::registry::{HandOver, JoinMode, JoinSettings, Registry};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::By;
use super::devices::{DeviceBody, Devices, SettingsRequest, parse_id};
use super::{ApiJson, ApiPath, Problem, ProblemBody};

/// The routes.
pub fn router(devices: Devices) -> OpenApiRouter {
    let registry = devices.registry.clone();
    let settings = OpenApiRouter::new()
        .routes(routes!(show, set_mode))
        .routes(routes!(rotate_key))
        .with_state(registry);
    OpenApiRouter::new()
        .routes(routes!(approve))
        .routes(routes!(reject))
        .with_state(devices)
        .merge(settings)
}

/// How unknown devices come in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EnrolmentBody {
    /// What the key is worth.
    mode: JoinMode,
    /// A device connects with the id it wants as username and this as password.
    join_key: String,
    /// Devices that wait in the inbox.
    pending: usize,
}

/// A change of the mode.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EnrolmentEdit {
    mode: JoinMode,
}

/// A device taken from the inbox.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Approved {
    #[serde(flatten)]
    device: DeviceBody,
    /// Whether the device has taken its credentials already; otherwise it gets
    /// them when it listens next.
    credentials_delivered: bool,
}

fn body(registry: &Registry, settings: &JoinSettings) -> EnrolmentBody {
    EnrolmentBody {
        mode: settings.mode,
        join_key: settings.key.expose().to_owned(),
        pending: registry.pending(),
    }
}

/// Shows the join key and its mode.
#[utoipa::path(
    get, path = "/enrolment", tag = "enrolment",
    responses((status = 200, body = EnrolmentBody)),
)]
async fn show(State(registry): State<Arc<Registry>>) -> Json<EnrolmentBody> {
    Json(body(&registry, &registry.join_settings()))
}

/// Sets what the join key is worth.
#[utoipa::path(
    patch, path = "/enrolment", tag = "enrolment", request_body = EnrolmentEdit,
    responses(
        (status = 200, body = EnrolmentBody),
        (status = 422, body = ProblemBody),
    ),
)]
async fn set_mode(
    State(registry): State<Arc<Registry>>,
    by: By,
    ApiJson(request): ApiJson<EnrolmentEdit>,
) -> Result<Json<EnrolmentBody>, Problem> {
    registry.set_join_mode(&by.actor, request.mode).await?;
    Ok(Json(body(&registry, &registry.join_settings())))
}

/// Replaces the join key; devices that came in with the old one and have no
/// credentials yet are disconnected.
#[utoipa::path(
    post, path = "/enrolment/key", tag = "enrolment",
    responses((status = 200, body = EnrolmentBody)),
)]
async fn rotate_key(
    State(registry): State<Arc<Registry>>,
    by: By,
) -> Result<Json<EnrolmentBody>, Problem> {
    let settings = registry.rotate_join_key(&by.actor).await?;
    Ok(Json(body(&registry, &settings)))
}

/// Takes a device from the inbox, or one rejected before, with settings if
/// some are given.
#[utoipa::path(
    post, path = "/devices/{deviceId}/approve", tag = "enrolment",
    params(("deviceId" = String, Path)), request_body = Option<SettingsRequest>,
    responses(
        (status = 200, body = Approved),
        (status = 404, body = ProblemBody),
        (status = 409, description = "It does not wait", body = ProblemBody),
        (status = 422, body = ProblemBody),
    ),
)]
async fn approve(
    State(devices): State<Devices>,
    by: By,
    ApiPath(id): ApiPath<String>,
    request: Option<ApiJson<SettingsRequest>>,
) -> Result<Json<Approved>, Problem> {
    let id = parse_id(&id)?;
    let edit = request.map(|ApiJson(it)| it).unwrap_or_default();
    let edit = edit.into_edit(by.grant())?;
    let (device, handed) = devices.registry.approve(&by.actor, &id, edit).await?;
    Ok(Json(Approved {
        device: devices.body(device).await,
        credentials_delivered: handed == HandOver::Delivered,
    }))
}

/// Refuses a device in the inbox: it is disconnected, and the join key does
/// not let its id in again until it is approved or deleted.
#[utoipa::path(
    post, path = "/devices/{deviceId}/reject", tag = "enrolment",
    params(("deviceId" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = ProblemBody),
        (status = 409, description = "It does not wait", body = ProblemBody),
    ),
)]
async fn reject(
    State(devices): State<Devices>,
    by: By,
    ApiPath(id): ApiPath<String>,
) -> Result<axum::http::StatusCode, Problem> {
    devices.registry.reject(&by.actor, &parse_id(&id)?).await?;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use dormouse_core::acl::Standing;
    use dormouse_core::services::registry::AuthRefused;
    use dormouse_core::topic::Channel;
    use serde_json::{Value, json};

    use super::super::testing::Site;

    async fn join_key(site: &Site) -> String {
        let body = site.get("enrolment").await.expect(200);
        body["joinKey"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_device_with_the_key_waits_until_it_is_approved() {
        let site = Site::new().await;
        let key = join_key(&site).await;
        let address = "10.3.2.9".parse().ok();
        let join = || {
            site.registry
                .authenticate("A-302-new", key.as_bytes(), address)
        };
        let identity = join().await.unwrap();
        assert_eq!(identity.standing, Standing::Joining);
        let payload = br#"{"online":true,"mac":"aa:bb"}"#;
        site.registry
            .note_payload(identity.key, Channel::Status, payload);
        site.registry
            .note_payload(identity.key, Channel::Telemetry, b"later");

        let active = site.get("devices").await.expect(200);
        assert_eq!(active["items"], json!([]));
        let inbox = site.get("devices?state=pending").await.expect(200);
        let waiting = &inbox["items"][0];
        assert_eq!(waiting["location"], "A/3/302");
        assert_eq!(waiting["inbox"]["address"], "10.3.2.9");
        assert_eq!(waiting["inbox"]["firstChannel"], "status");
        assert!(
            waiting["inbox"]["firstPayload"]
                .as_str()
                .unwrap()
                .contains("aa:bb")
        );
    }

    #[tokio::test]
    async fn approval_hands_over_credentials_and_their_first_use_ends_the_key() {
        let site = Site::new().await;
        let key = join_key(&site).await;
        let join = || {
            let registry = &site.registry;
            registry.authenticate("A-302-new", key.as_bytes(), None)
        };
        join().await.unwrap();
        let early = site
            .post("devices/A-302-new/credentials", Value::Null)
            .await;
        early.expect_problem(409, "not-approved");

        *site.broker.listening.lock().unwrap() = true;
        let body = json!({"name": "Window", "sockets": 3});
        let approved = site
            .post("devices/A-302-new/approve", body)
            .await
            .expect(200);
        assert_eq!(approved["credentialsDelivered"], true);
        assert_eq!(
            (&approved["state"], &approved["name"]),
            (&json!("active"), &json!("Window"))
        );
        assert!(
            site.broker.kicked.lock().unwrap().is_empty(),
            "it is still reading them"
        );

        // The key is good until the credentials are first used, and not after.
        join().await.unwrap();
        let handed = site
            .broker
            .handed_over
            .lock()
            .unwrap()
            .last()
            .cloned()
            .unwrap();
        let own = site
            .registry
            .authenticate("A-302-new", handed.password.as_bytes(), None);
        assert_eq!(own.await.unwrap().standing, Standing::Active);
        assert!(matches!(join().await, Err(AuthRefused::BadCredentials)));
        site.registry.flush().await.unwrap();
        site.registry.refresh().await.unwrap();
        assert!(join().await.is_err());
        let again = site.post("devices/A-302-new/approve", Value::Null).await;
        again.expect_problem(409, "not-waiting");
    }

    #[tokio::test]
    async fn credentials_wait_for_a_device_that_does_not_listen() {
        let site = Site::new().await;
        let key = join_key(&site).await;
        let join = || site.registry.authenticate("a", key.as_bytes(), None);
        let identity = join().await.unwrap();
        let approved = site
            .post("devices/a/approve", Value::Null)
            .await
            .expect(200);
        assert_eq!(approved["credentialsDelivered"], false);
        assert_eq!(approved["hasCredentials"], false);
        join().await.unwrap();
        *site.broker.listening.lock().unwrap() = true;
        site.registry.hand_over(&identity.id).await.unwrap();
        let handed = site.broker.handed_over.lock().unwrap()[0].clone();
        site.registry
            .authenticate("a", handed.password.as_bytes(), None)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_rejected_device_stays_out_until_it_is_approved() {
        let site = Site::new().await;
        let key = join_key(&site).await;
        let join = || site.registry.authenticate("a", key.as_bytes(), None);
        join().await.unwrap();
        site.post("devices/a/reject", Value::Null).await.expect(204);
        assert_eq!(site.broker.kicked.lock().unwrap().len(), 1);
        assert!(matches!(join().await, Err(AuthRefused::Rejected)));
        site.post("devices/a/reject", Value::Null)
            .await
            .expect_problem(409, "not-waiting");
        let rejected = site.get("devices?state=rejected").await.expect(200);
        assert_eq!(rejected["items"].as_array().unwrap().len(), 1);
        site.post("devices/a/approve", Value::Null)
            .await
            .expect(200);
        join().await.unwrap();
        site.post("devices/none/reject", Value::Null)
            .await
            .expect_problem(404, "not-found");
    }

    #[tokio::test]
    async fn the_key_is_no_way_into_a_device_with_credentials() {
        let site = Site::new().await;
        site.post("devices", json!({"deviceId": "a"}))
            .await
            .expect(201);
        let key = join_key(&site).await;
        let join = || site.registry.authenticate("a", key.as_bytes(), None);
        assert!(matches!(join().await, Err(AuthRefused::BadCredentials)));
        site.delete("devices/a/credentials").await.expect(204);
        assert!(
            matches!(join().await, Err(AuthRefused::BadCredentials)),
            "revoked"
        );
    }

    #[tokio::test]
    async fn the_inbox_has_an_end_and_the_mode_decides() {
        let site = Site::new().await;
        let key = join_key(&site).await;
        let join = async |id: &str| {
            let outcome = site.registry.authenticate(id, key.as_bytes(), None);
            outcome.await.map(|it| it.key)
        };
        for id in ["a", "b", "c"] {
            join(id).await.unwrap();
        }
        assert!(matches!(join("d").await, Err(AuthRefused::InboxFull)));
        join("a").await.unwrap();

        site.patch("enrolment", json!({"mode": "open"}))
            .await
            .expect(200);
        join("d").await.unwrap();
        assert_eq!(site.get("devices/d").await.expect(200)["state"], "active");
        site.patch("enrolment", json!({"mode": "closed"}))
            .await
            .expect(200);
        assert!(matches!(join("e").await, Err(AuthRefused::Closed)));
        assert!(matches!(join("a").await, Err(AuthRefused::Closed)));
        site.patch("enrolment", json!({"mode": "ajar"}))
            .await
            .expect_invalid("/mode");
        site.patch("enrolment", json!({}))
            .await
            .expect_invalid("/mode");
        assert_eq!(site.get("enrolment").await.expect(200)["mode"], "closed");
    }

    #[tokio::test]
    async fn a_new_key_ends_the_old_one_and_those_who_came_with_it() {
        let site = Site::new().await;
        let old = join_key(&site).await;
        site.registry
            .authenticate("a", old.as_bytes(), None)
            .await
            .unwrap();
        let body = site.post("enrolment/key", Value::Null).await.expect(200);
        let new = body["joinKey"].as_str().unwrap();
        assert_eq!((new.len(), body["pending"].as_u64()), (24, Some(1)));
        assert_eq!(site.broker.kicked.lock().unwrap().len(), 1);
        assert!(
            site.registry
                .authenticate("a", old.as_bytes(), None)
                .await
                .is_err()
        );
        site.registry
            .authenticate("a", new.as_bytes(), None)
            .await
            .unwrap();
    }
}
