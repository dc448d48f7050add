//! `/health`, `/livez`, `/readyz`: open to all, and naming no host.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dormouse_core::clock::{Timestamp, rfc3339};
use dormouse_core::health::{HealthRegistry, Part, PartState, Serves};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The three routes, to be served beside `/api/v1`.
pub fn router(health: Arc<HealthRegistry>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(health_report))
        .routes(routes!(livez))
        .routes(routes!(readyz))
        .with_state(health)
}

/// What works and what does not.
#[derive(Debug, Serialize, ToSchema)]
struct HealthReport {
    /// The broker.
    mqtt: MqttHealth,
    /// Live state; memory counts as `ok`.
    redis: Health,
    /// The databases.
    db: Health,
    /// Every part by its name.
    parts: BTreeMap<&'static str, PartReport>,
}

/// Whether the broker takes connections.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MqttHealth {
    Connected,
    Disconnected,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Health {
    Ok,
    Down,
}

impl From<bool> for Health {
    fn from(works: bool) -> Self {
        if works { Self::Ok } else { Self::Down }
    }
}

/// One part.
#[derive(Debug, Serialize, ToSchema)]
struct PartReport {
    /// Which engine does the work.
    engine: &'static str,
    /// Whether it works.
    state: Health,
    /// Whether the main job needs it.
    needed: bool,
    /// Since when it is in this state.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// What there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl From<Part> for PartReport {
    fn from(part: Part) -> Self {
        Self {
            engine: part.engine,
            state: (part.state == PartState::Up).into(),
            needed: part.needed,
            since: part.since,
            detail: part.detail,
        }
    }
}

/// What works and what does not.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses(
    (status = 200, description = "All needed parts work", body = HealthReport),
    (status = 503, description = "A needed part is down", body = HealthReport),
))]
async fn health_report(State(health): State<Arc<HealthRegistry>>) -> Response {
    let status = if health.is_healthy() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let report = HealthReport {
        mqtt: if health.works(Serves::Mqtt) {
            MqttHealth::Connected
        } else {
            MqttHealth::Disconnected
        },
        redis: health.works(Serves::Hot).into(),
        db: health.works(Serves::Database).into(),
        parts: health
            .all()
            .into_iter()
            .map(|(name, part)| (name, part.into()))
            .collect(),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

/// Answers as long as the process does.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses(
    (status = 200, description = "The process answers", body = String, content_type = "text/plain"),
))]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the process takes data; stays 200 while the journal does, even when
/// the database is down.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "It takes data", body = String, content_type = "text/plain"),
    (status = 503, description = "It does not", body = String, content_type = "text/plain"),
))]
async fn readyz(State(health): State<Arc<HealthRegistry>>) -> (StatusCode, &'static str) {
    if health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use dormouse_core::clock::ManualClock;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_broken_part_shows_in_its_line_and_in_the_status() {
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        let mqtt = health.add("mqtt", "embedded", Serves::Mqtt, true);
        let hot = health.add("redis", "memory", Serves::Hot, true);
        let db = health.add("db", "sqlite", Serves::Database, true);
        let journal = health.add("journal", "file", Serves::Intake, true);
        let (router, _) = router(health.clone()).split_for_parts();
        for part in [&mqtt, &hot, &db, &journal] {
            part.up();
        }
        health.set_running(true);
        let (status, body) = get(&router, "/health").await;
        assert_eq!(status, StatusCode::OK);
        let report: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(report["mqtt"], "connected");
        assert_eq!(report["redis"], "ok");
        assert_eq!(report["db"], "ok");
        assert_eq!(
            report["parts"]["redis"],
            json!({"engine": "memory", "state": "ok", "needed": true,
                "since": "1970-01-01T00:00:00.000Z"})
        );

        for (part, line, word, ready) in [
            (&mqtt, "mqtt", "disconnected", StatusCode::OK),
            (&hot, "redis", "down", StatusCode::OK),
            (&db, "db", "down", StatusCode::OK),
            (
                &journal,
                "mqtt",
                "connected",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        ] {
            part.down("broken by a test");
            let (status, body) = get(&router, "/health").await;
            let report: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{line}");
            assert_eq!(report[line], word);
            assert_eq!(report["parts"][part.name()]["state"], "down");
            assert_eq!(get(&router, "/readyz").await.0, ready, "{line}");
            assert_eq!(get(&router, "/livez").await.0, StatusCode::OK);
            part.up();
        }
    }
}
