//! Statistics over HTTP, on an in-memory store.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use dormouse_core::access::Role;
use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::event::Origin;
use dormouse_core::ids::SocketId;
use dormouse_core::memory::{MemoryDirectory, MemoryHistory};
use dormouse_core::ports::history::HistoryStore;
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::SiteZone;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const NOON: i64 = 1_777_636_800_000; // 2026-05-01T12:00:00Z

/// 100 W for the two hours before noon, and the same the day before.
async fn statistics() -> Arc<Statistics> {
    let directory = MemoryDirectory::default();
    let strip = directory.add("A-302-strip01", "A/3/302");
    let store = MemoryHistory::new(SiteZone::UTC);
    let samples = (0..=120).flat_map(|n: i64| [n, n + 24 * 60]);
    let samples = samples.map(|n| DeviceSample {
        device: strip,
        sample: Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(NOON - n * 60_000),
            values: Values {
                power_dw: Some(1_000),
                ..Values::default()
            },
        },
    });
    store.append(samples.collect(), None).await.unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOON)));
    let zone = SiteZone::UTC;
    Arc::new(Statistics::new(
        Arc::new(store),
        Arc::new(directory),
        clock,
        zone,
    ))
}

async fn get(path: &str) -> (StatusCode, Value) {
    let (router, _) = router(statistics().await).split_for_parts();
    let request = Request::get(path).extension(Caller {
        origin: Origin::Server,
        role: Role::Admin,
        key: "test".into(),
    });
    let request = request.body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn today_and_the_total_are_shown() {
    let (_, body) = get("/stats/today").await;
    let expected = json!({
        "since": "2026-05-01T00:00:00.000Z", "energyWh": 200.0, "totalEnergyWh": 400.0
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn energy_is_shown_by_group_and_time() {
    let (_, body) = get("/stats/energy?by=floor").await;
    let point = |hours: i64, wh: f64| json!({"ts": NOON - hours * 3_600_000, "energyWh": wh});
    assert_eq!(
        body,
        json!({
            "resolution": "hour",
            "from": "2026-04-30T12:00:00.000Z",
            "to": "2026-05-01T12:00:00.000Z",
            "groups": [{
                "name": "A/3", "energyWh": 200.0,
                "points": [point(24, 0.0), point(2, 100.0), point(1, 100.0)]
            }]
        })
    );
    let (_, days) = get("/stats/energy?from=2026-04-30T01:00:00Z&by=device&resolution=day").await;
    assert_eq!(days["from"], "2026-04-30T00:00:00.000Z");
    assert_eq!(days["groups"][0]["name"], "A-302-strip01");
    assert_eq!(days["groups"][0]["points"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn completeness_is_shown_by_hour() {
    let from = "2026-05-01T09:00:00Z";
    let (_, body) = get(&format!(
        "/stats/completeness?deviceId=A-302-strip01&from={from}"
    ))
    .await;
    let hour = json!({
        "ts": NOON - 7_200_000, "received": 60, "expected": null, "completeness": null
    });
    assert_eq!(body["hours"][0], hour);
    assert_eq!(body["hours"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn bad_questions_name_the_parameter_and_the_rule() {
    for (path, status, pointer, rule) in [
        ("/stats/energy?by=moon", 422, Some("by"), "unknown variant"),
        ("/stats/energy?from=x", 422, Some("from"), "RFC 3339"),
        ("/stats/energy?hour=1", 422, None, "unknown field `hour`"),
        (
            "/stats/energy?from=2026-01-01T00:00:00Z&resolution=hour",
            422,
            Some("resolution"),
            "at most 2 days",
        ),
        (
            "/stats/energy?from=2020-01-01T00:00:00Z",
            422,
            Some("from"),
            "at most 732 days",
        ),
        ("/stats/completeness", 422, None, "missing field `deviceId`"),
        ("/stats/completeness?deviceId=B", 404, None, "no device B"),
        (
            "/stats/completeness?deviceId=A-302-strip01&from=2025-01-01T00:00:00Z",
            422,
            Some("from"),
            "at most 92 days",
        ),
    ] {
        let (found, body) = get(path).await;
        assert_eq!(found.as_u16(), status, "{path}: {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(rule), "{path}: {detail}");
        if let Some(pointer) = pointer {
            assert_eq!(body["errors"][0]["pointer"], pointer, "{body}");
        }
    }
}
