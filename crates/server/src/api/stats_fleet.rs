//! `GET /stats/fleet` and `/stats/fleet/power`: the totals of this moment, and
//! their curve up to it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dormouse_core::live::FleetTotals;
use dormouse_core::services::fleet::Fleet;
use dormouse_core::services::fleet_curve::PowerPoint;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiQuery, Caller, Problem, ProblemBody};

/// The longest stretch that can be asked for, minutes: what is kept.
const MINUTES_MAX: u32 = 30;
/// The stretch where the request does not say, minutes.
const MINUTES_DEFAULT: u32 = 10;

/// The route.
pub fn router(fleet: Arc<Fleet>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(fleet_totals))
        .routes(routes!(fleet_power))
        .with_state(fleet)
}

/// How many devices are there, and what they draw together now.
#[utoipa::path(get, path = "/stats/fleet", tag = "statistics", responses(
    (status = 200, description = "The totals", body = FleetTotals),
    (status = 401, description = "Not signed in", body = ProblemBody),
))]
async fn fleet_totals(_: Caller, State(fleet): State<Arc<Fleet>>) -> Json<FleetTotals> {
    Json(fleet.totals().await)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PowerQuery {
    /// How far back, minutes: 1 to 30; 10 where left out.
    #[param(minimum = 1, maximum = 30)]
    minutes: Option<u32>,
}

/// The fleet's power of late.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FleetCurve)]
struct PowerBody {
    /// Oldest first, one in five seconds; none from before the server started.
    items: Vec<PowerPoint>,
}

/// What all devices drew together in the last minutes, from memory.
#[utoipa::path(get, path = "/stats/fleet/power", tag = "statistics", params(PowerQuery), responses(
    (status = 200, description = "The curve", body = PowerBody),
    (status = 401, description = "Not signed in", body = ProblemBody),
    (status = 422, description = "A parameter that breaks a rule", body = ProblemBody),
))]
async fn fleet_power(
    _: Caller,
    State(fleet): State<Arc<Fleet>>,
    ApiQuery(query): ApiQuery<PowerQuery>,
) -> Result<Json<PowerBody>, Problem> {
    let minutes = query.minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(Problem::invalid("minutes", "must be 1 to 30"));
    }
    let last = Duration::from_secs(u64::from(minutes) * 60);
    let items = fleet.recent_power(last);
    Ok(Json(PowerBody { items }))
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use dormouse_core::access::Role;
    use dormouse_core::clock::{ManualClock, Timestamp};
    use dormouse_core::event::Origin;
    use dormouse_core::ids::DeviceKey;
    use dormouse_core::live::LiveHub;
    use dormouse_core::memory::{MemoryDirectory, MemoryEvents, MemoryIncidents};
    use dormouse_core::ports::DeviceView;
    use dormouse_core::ports::hot::Latest;
    use dormouse_core::presence::{OfflineAfter, Presence};
    use dormouse_core::services::events::EventLog;
    use dormouse_core::services::fleet::FleetParts;
    use dormouse_core::services::incidents::Incidents;
    use dormouse_core::services::presence::{PresenceParts, PresenceTracker};
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    struct NoReadings;

    #[async_trait::async_trait]
    impl DeviceView for NoReadings {
        fn presence(&self, _: DeviceKey) -> Presence {
            Presence::NEVER
        }

        async fn latest(&self, devices: &[DeviceKey]) -> Vec<Vec<Latest>> {
            vec![Vec::new(); devices.len()]
        }

        async fn energy_today_wh(&self, devices: &[DeviceKey]) -> Vec<Option<f64>> {
            vec![None; devices.len()]
        }
    }

    fn fleet(clock: Arc<ManualClock>) -> Fleet {
        let directory = Arc::new(MemoryDirectory::default());
        let hub = Arc::new(LiveHub::new(directory.clone()));
        let store = Arc::new(MemoryEvents::default());
        let events = Arc::new(EventLog::new(store, hub, clock.clone()));
        let store = Arc::new(MemoryIncidents::default());
        let incidents = Incidents::new(store, directory.clone(), events.clone(), clock.clone());
        let presence = Arc::new(PresenceTracker::new(PresenceParts {
            offline_after: OfflineAfter::Auto,
            directory: directory.clone(),
            events: events.clone(),
            incidents: Arc::new(incidents),
            clock: clock.clone(),
            nodes: None,
        }));
        Fleet::new(FleetParts {
            directory,
            presence,
            readings: Arc::new(NoReadings),
            events,
            clock,
            version: "1.2.3",
        })
    }

    async fn get(fleet: &Arc<Fleet>, path: &str) -> (StatusCode, Value) {
        let caller = Caller {
            origin: Origin::Server,
            role: Role::Viewer,
            key: "test".into(),
        };
        let router = router(fleet.clone()).layer(Extension(caller));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = axum::Router::from(router).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn the_curve_goes_back_as_far_as_asked() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let fleet = Arc::new(fleet(clock.clone()));
        for _ in 0..3 {
            fleet.remember(&fleet.totals().await);
            clock.advance(Duration::from_secs(60));
        }
        let (status, body) = get(&fleet, "/stats/fleet/power?minutes=2").await;
        assert_eq!(status, StatusCode::OK);
        let point = |ts| json!({"ts": ts, "powerW": 0.0});
        assert_eq!(body, json!({"items": [point(60_000), point(120_000)]}));
    }

    #[tokio::test]
    async fn a_stretch_that_is_not_kept_is_refused() {
        let fleet = Arc::new(fleet(Arc::new(ManualClock::default())));
        for query in ["0", "31", "-1", "x"] {
            let (status, body) = get(&fleet, &format!("/stats/fleet/power?minutes={query}")).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
        }
    }
}
