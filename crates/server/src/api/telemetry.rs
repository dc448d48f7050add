//! What a device measured of late, and what of it was refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::device::Device;
use dormouse_core::directory::Directory;
use dormouse_core::ids::DeviceId;
use dormouse_core::live::{ReadingMessage, SampleMessage, latest_message};
use dormouse_core::ports::hot::{HotState, RING_MS};
use dormouse_core::services::ingest::{LastRefusal, Refusals};
use dormouse_core::services::intake::Gate;
use dormouse_core::services::refill::Refill;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ApiPath, ApiQuery, Problem, ProblemBody};

/// The longest stretch that can be asked for, minutes.
const MINUTES_MAX: u32 = 120;
const _: () = assert!(MINUTES_MAX as i64 * 60_000 == RING_MS, "the ring's reach");
/// The stretch where the request does not say, minutes.
const MINUTES_DEFAULT: u32 = 30;

/// What these routes work with.
#[derive(Clone)]
pub struct Telemetry {
    /// Who the devices are.
    pub directory: Arc<dyn Directory>,
    /// Keeps what was measured of late.
    pub hot: Arc<dyn HotState>,
    /// Brings back what was measured before the start.
    pub refill: Arc<Refill>,
    /// Knows what was refused.
    pub gate: Arc<dyn Gate>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// The routes.
pub fn router(telemetry: Telemetry) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(recent))
        .routes(routes!(refusals))
        .with_state(telemetry)
}

impl Telemetry {
    fn device(&self, id: &str) -> Result<Arc<Device>, Problem> {
        let id = DeviceId::parse(id)?;
        self.directory
            .by_id(&id)
            .ok_or_else(|| Problem::not_found(format!("no device '{id}'")))
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct RecentQuery {
    /// How far back, minutes: 1 to 120; 30 where left out.
    #[param(minimum = 1, maximum = 120)]
    minutes: Option<u32>,
}

/// What a device measured of late.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecentTelemetry)]
struct RecentBody {
    /// Whose.
    device_id: String,
    /// The strip's totals, oldest first.
    items: Vec<SampleMessage>,
    /// The newest reading of the strip and each socket.
    latest: Option<SampleMessage>,
    /// Samples before it were thinned to one in 30 s to save memory; `null`
    /// where none were.
    #[schema(format = DateTime)]
    thinned_before: Option<String>,
}

/// Shows what a device measured in the last minutes.
#[utoipa::path(
    get, path = "/devices/{deviceId}/telemetry", tag = "telemetry",
    params(("deviceId" = String, Path, description = "Which device"), RecentQuery),
    responses(
        (status = 200, description = "The last minutes, from memory", body = RecentBody),
        (status = 404, description = "No such device", body = ProblemBody),
        (status = 422, description = "A parameter that breaks a rule", body = ProblemBody),
    )
)]
async fn recent(
    State(telemetry): State<Telemetry>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<RecentQuery>,
) -> Result<Json<RecentBody>, Problem> {
    let device = telemetry.device(&id)?;
    let minutes = query.minutes.unwrap_or(MINUTES_DEFAULT);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(Problem::invalid("minutes", "must be 1 to 120"));
    }
    let from = telemetry.clock.now() - Duration::from_secs(u64::from(minutes) * 60);
    // A device's clock may be ahead of ours: what it sent is shown all the same.
    let end = Timestamp::from_millis(i64::MAX);
    telemetry.refill.ensure(device.key).await?;
    let recent = telemetry.hot.recent(device.key, from, end).await?;
    let latest = telemetry.hot.latest(&[device.key]).await?;
    let latest = latest.concat();
    let items = recent.samples.iter().map(|sample| SampleMessage {
        ts: sample.ts,
        totals: ReadingMessage::from(sample.values),
        sockets: Vec::new(),
    });
    Ok(Json(RecentBody {
        device_id: device.id.as_str().to_owned(),
        items: items.collect(),
        latest: latest_message(&latest),
        thinned_before: recent.thinned_before.map(Timestamp::to_rfc3339),
    }))
}

/// What was refused of a device since the server started.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Refusals)]
pub struct RefusalsBody {
    /// How many bodies, by reason; only reasons that occurred.
    counts: BTreeMap<&'static str, u32>,
    /// The last one; `null` where none was.
    last: Option<LastRefusalBody>,
}

/// One refused body.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = LastRefusal)]
struct LastRefusalBody {
    /// Why.
    reason: &'static str,
    /// The field that broke a rule; `body` for the whole.
    field: String,
    /// The rule it broke.
    rule: String,
    /// The last level of the topic it came on.
    channel: &'static str,
    /// When it came.
    #[schema(format = DateTime)]
    at: String,
}

impl From<Refusals> for RefusalsBody {
    fn from(refusals: Refusals) -> Self {
        let counts = refusals.counts();
        Self {
            counts: counts.map(|(reason, n)| (reason.name(), n)).collect(),
            last: Some(LastRefusalBody::from(refusals.last)),
        }
    }
}

impl From<LastRefusal> for LastRefusalBody {
    fn from(last: LastRefusal) -> Self {
        Self {
            reason: last.refusal.reason.name(),
            field: last.refusal.field.into_owned(),
            rule: last.refusal.rule.into_owned(),
            channel: last.channel.as_str(),
            at: last.at.to_rfc3339(),
        }
    }
}

/// Shows which bodies of a device were refused, and why the last one was.
#[utoipa::path(
    get, path = "/devices/{deviceId}/refusals", tag = "telemetry",
    params(("deviceId" = String, Path, description = "Which device")),
    responses(
        (status = 200, description = "Since the server started", body = RefusalsBody),
        (status = 404, description = "No such device", body = ProblemBody),
    )
)]
async fn refusals(
    State(telemetry): State<Telemetry>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<RefusalsBody>, Problem> {
    let device = telemetry.device(&id)?;
    let refusals = telemetry.gate.refusals(device.key);
    Ok(Json(refusals.map(RefusalsBody::from).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{Request, StatusCode};
    use dormouse_core::clock::ManualClock;
    use dormouse_core::ids::DeviceKey;
    use dormouse_core::memory::{MemoryDirectory, MemoryHistory, MemoryHot, MemoryJournal};
    use dormouse_core::services::ingest::{Inbound, Ingest};
    use dormouse_core::site::SiteZone;
    use dormouse_core::topic::Channel;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    const NOW: i64 = 1_767_323_045_000;

    fn telemetry() -> (Telemetry, Arc<Ingest>) {
        let directory = MemoryDirectory::default();
        directory.add("A-302-strip01", "A/3/302");
        let hot: Arc<dyn HotState> = Arc::new(MemoryHot::default());
        let journal = Arc::new(MemoryJournal::default());
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOW)));
        let history = Arc::new(MemoryHistory::new(SiteZone::named("UTC").unwrap()));
        let refill = Refill::new(Arc::clone(&hot), history, Arc::clone(&clock) as _);
        let ingest = Arc::new(Ingest::new(journal, Arc::clone(&hot), Arc::new(())));
        let telemetry = Telemetry {
            directory: Arc::new(directory),
            hot,
            refill: Arc::new(refill),
            gate: Arc::clone(&ingest) as _,
            clock,
        };
        (telemetry, ingest)
    }

    fn receive(ingest: &Ingest, body: &str) {
        let message = Inbound {
            device: DeviceKey(1),
            channel: Channel::Telemetry,
            payload: body.as_bytes(),
            retained: false,
            will: false,
            received_at: Timestamp::from_millis(NOW),
        };
        ingest.receive(&message, None);
    }

    async fn get(telemetry: &Telemetry, path: &str) -> (StatusCode, Value) {
        let (router, _) = router(telemetry.clone()).split_for_parts();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn the_last_minutes_are_shown_oldest_first() {
        let (telemetry, ingest) = telemetry();
        for (age_s, watts) in [(0, 3), (3600, 1), (60, 2)] {
            let ts = NOW - age_s * 1000;
            let body = format!(
                r#"{{"ts":{ts},"powerW":{watts},"sockets":[{{"socketId":2,"powerW":{watts}}}]}}"#
            );
            receive(&ingest, &body);
        }
        let path = "/devices/A-302-strip01/telemetry";
        let (status, body) = get(&telemetry, path).await;
        assert_eq!(status, StatusCode::OK);
        let shown = json!([{"ts": NOW - 60_000, "powerW": 2.0}, {"ts": NOW, "powerW": 3.0}]);
        assert_eq!(body["items"], shown);
        assert_eq!(body["thinnedBefore"], Value::Null);
        let socket = json!([{"socketId": 2, "powerW": 3.0}]);
        assert_eq!(body["latest"]["sockets"], socket);
        let (_, body) = get(&telemetry, &format!("{path}?minutes=120")).await;
        assert_eq!(body["items"].as_array().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_wrong_device_or_stretch_is_named() {
        let (telemetry, _) = telemetry();
        for (path, status) in [
            ("/devices/nobody/telemetry", 404),
            ("/devices/nobody/refusals", 404),
            ("/devices/+/telemetry", 422),
            ("/devices/A-302-strip01/telemetry?minutes=0", 422),
            ("/devices/A-302-strip01/telemetry?minutes=121", 422),
            ("/devices/A-302-strip01/telemetry?minutes=x", 422),
            ("/devices/A-302-strip01/telemetry?hours=1", 422),
        ] {
            let (found, body) = get(&telemetry, path).await;
            assert_eq!(found.as_u16(), status, "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn refusals_are_counted_and_the_last_is_explained() {
        let (telemetry, ingest) = telemetry();
        let path = "/devices/A-302-strip01/refusals";
        let (_, body) = get(&telemetry, path).await;
        assert_eq!(body, json!({"counts": {}, "last": null}));
        receive(&ingest, "x");
        receive(&ingest, r#"{"powerW":1e6}"#);
        let (_, body) = get(&telemetry, path).await;
        assert_eq!(
            body["counts"],
            json!({"malformed-json": 1, "out-of-range": 1})
        );
        assert_eq!(body["last"]["field"], "powerW");
        assert_eq!(body["last"]["channel"], "telemetry");
    }
}
