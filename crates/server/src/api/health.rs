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

/// What the routes work with.
pub struct Vitals {
    /// The parts.
    pub health: Arc<HealthRegistry>,
    /// What tells this process from the others of the site; names no host.
    /// `None` where it is the only one.
    pub instance: Option<String>,
    /// Looks at the way in.
    pub intake: Box<dyn Fn() -> IntakeReport + Send + Sync>,
}

impl std::fmt::Debug for Vitals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vitals")
            .field("health", &self.health)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// The three routes, to be served beside `/api/v1`.
pub fn router(vitals: Vitals) -> OpenApiRouter {
    let health = Arc::clone(&vitals.health);
    OpenApiRouter::new()
        .routes(routes!(health_report))
        .with_state(Arc::new(vitals))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(livez))
                .routes(routes!(readyz))
                .with_state(health),
        )
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
    /// The way that messages take.
    intake: IntakeReport,
    /// What tells this process from the others of the site, the end of its
    /// name in `GET /api/v1/nodes`; absent where it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
}

/// The way that messages take into the database.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = IntakeReport)]
pub struct IntakeReport {
    /// Which way it is.
    pub way: Way,
    /// Messages since the start that are not in the database yet; `null` where
    /// only their bytes are counted.
    pub waiting: Option<u64>,
    /// Messages that the database refused for what they are and that are put
    /// aside in it, whichever node had them, as counted last.
    pub aside: u64,
    /// Bytes in the journal that are not in the database yet.
    pub journal_used_bytes: u64,
    /// The journal's size, bytes.
    pub journal_capacity_bytes: u64,
    /// Whether it has no room: nothing is acknowledged then.
    pub journal_full: bool,
}

/// Which way messages take into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Way)]
pub enum Way {
    /// Straight, acknowledged after the commit.
    Direct,
    /// Through the journal, acknowledged once they are in it.
    Journal,
    /// Through the journal for as long as the database does not take them
    /// straight.
    Detour,
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
#[serde(rename_all = "camelCase")]
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
    /// When it succeeded last; only of what works now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    last_success: Option<String>,
    /// When it works next; only of what works now and then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    next: Option<String>,
}

impl From<Part> for PartReport {
    fn from(part: Part) -> Self {
        Self {
            engine: part.engine,
            state: (part.state == PartState::Up).into(),
            needed: part.needed,
            since: part.since,
            detail: part.detail,
            last_success: part.rounds.last_success.map(|at| at.to_rfc3339()),
            next: part.rounds.next.map(|at| at.to_rfc3339()),
        }
    }
}

/// What works and what does not.
#[utoipa::path(get, path = "/health", tag = "health", security(()), responses(
    (status = 200, description = "All needed parts work", body = HealthReport),
    (status = 503, description = "A needed part is down", body = HealthReport),
))]
async fn health_report(State(vitals): State<Arc<Vitals>>) -> Response {
    let health = &vitals.health;
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
        intake: (vitals.intake)(),
        instance: vitals.instance.clone(),
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
    use dormouse_core::health::Rounds;
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

    fn served(health: &Arc<HealthRegistry>) -> Router {
        let vitals = Vitals {
            health: Arc::clone(health),
            instance: Some("x7".to_owned()),
            intake: Box::new(|| IntakeReport {
                way: Way::Detour,
                waiting: Some(12),
                aside: 3,
                journal_used_bytes: 4_096,
                journal_capacity_bytes: 65_536,
                journal_full: false,
            }),
        };
        router(vitals).split_for_parts().0
    }

    #[tokio::test]
    async fn the_way_in_and_what_works_now_and_then_are_told() {
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        let maintenance = health.add("maintenance", "postgresql", Serves::Other, false);
        maintenance.up();
        maintenance.plan(Rounds {
            last_success: Some(Timestamp::from_millis(0)),
            next: Some(Timestamp::from_millis(3_600_000)),
        });
        let (_, body) = get(&served(&health), "/health").await;
        let report: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            report["parts"]["maintenance"],
            json!({"engine": "postgresql", "state": "ok", "needed": false,
                "since": "1970-01-01T00:00:00.000Z",
                "lastSuccess": "1970-01-01T00:00:00.000Z", "next": "1970-01-01T01:00:00.000Z"})
        );
        assert_eq!(
            report["intake"],
            json!({"way": "detour", "waiting": 12, "aside": 3, "journalUsedBytes": 4_096,
                "journalCapacityBytes": 65_536, "journalFull": false})
        );
        assert_eq!(report["instance"], "x7");
    }

    #[tokio::test]
    async fn each_broken_part_shows_in_its_line_and_in_the_status() {
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        let mqtt = health.add("mqtt", "embedded", Serves::Mqtt, true);
        let hot = health.add("redis", "memory", Serves::Hot, true);
        let db = health.add("db", "sqlite", Serves::Database, true);
        let journal = health.add("journal", "file", Serves::Intake, true);
        let router = served(&health);
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
