//! History over HTTP, on an in-memory store.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use dormouse_core::access::Role;
use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::event::Origin;
use dormouse_core::memory::{MemoryDirectory, MemoryHistory};
use dormouse_core::ports::history::HistoryStore;
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::SiteZone;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const NOON: i64 = 1_777_636_800_000; // 2026-05-01T12:00:00Z

/// Eight hours of a sample every five seconds, up to noon.
async fn history() -> History {
    let directory = MemoryDirectory::default();
    let strip = directory.add("A-302-strip01", "A/3/302");
    let store = MemoryHistory::new(SiteZone::UTC);
    let samples = (0..8 * 720).map(|n: i64| DeviceSample {
        device: strip,
        sample: Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(NOON - n * 5_000),
            values: Values {
                power_dw: Some(2_053),
                voltage_dv: Some(2_298),
                current_ma: Some(955),
                energy_dwh: Some(1_000_000 - n * 3),
                power_factor_centi: Some(94),
            },
        },
    });
    store.append(samples.collect(), None).await.unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOON + 1_000)));
    History::new(Arc::new(store), Arc::new(directory), clock, SiteZone::UTC)
}

async fn get(history: &History, query: &str) -> (StatusCode, String) {
    let (router, _) = router(history.clone()).split_for_parts();
    let request = Request::get(format!("/devices/{query}")).extension(Caller {
        origin: Origin::Server,
        role: Role::Admin,
        key: "test".into(),
    });
    let response = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 24).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn json_of(history: &History, query: &str) -> Value {
    let (status, body) = get(history, query).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_chart_says_what_it_chose_and_keeps_units_in_its_names() {
    let history = history().await;
    let body = json_of(&history, "A-302-strip01/history?from=2026-05-01T11:59:50Z").await;
    assert_eq!(body["deviceId"], "A-302-strip01");
    assert_eq!(body["socketId"], 0);
    assert_eq!(body["resolution"], "raw");
    assert_eq!(body["from"], "2026-05-01T11:59:50.000Z");
    assert_eq!(body["points"].as_array().unwrap().len(), 3);
    let newest = json!({
        "ts": NOON, "powerW": 205.3, "voltageV": 229.8, "currentA": 0.955,
        "energyWh": 100_000.0, "powerFactor": 0.94
    });
    assert_eq!(body["points"][2], newest);

    let day = json_of(&history, "A-302-strip01/history").await;
    assert_eq!(day["resolution"], "quarter");
    let hours = json_of(&history, "A-302-strip01/history?resolution=hour").await;
    let hour = &hours["points"][3];
    assert_eq!(
        *hour,
        json!({
            "ts": NOON - 5 * 3_600_000, "count": 720, "coveredMs": 3_600_000, "powerW": 205.3,
            "minPowerW": 205.3, "maxPowerW": 205.3, "energyWh": 216.0
        })
    );
    let empty = json_of(&history, "A-302-strip01/history?socketId=3").await;
    assert_eq!(empty["points"], json!([]));
}

/// A path, the status of its answer, the parameter at fault and its rule.
type Refused = (&'static str, u16, Option<&'static str>, &'static str);

const REFUSED: &[Refused] = &[
    ("nobody/history", 404, None, "no device nobody"),
    ("-/history", 422, Some("deviceId"), "starts with a letter"),
    (
        "A-302-strip01/history?socketId=33",
        422,
        Some("socketId"),
        "1 to 32",
    ),
    (
        "A-302-strip01/history?socketId=x",
        422,
        Some("socketId"),
        "invalid digit",
    ),
    (
        "A-302-strip01/history?from=x",
        422,
        Some("from"),
        "RFC 3339",
    ),
    (
        "A-302-strip01/history?to=2026-13-01T00:00:00Z",
        422,
        Some("to"),
        "RFC 3339",
    ),
    (
        "A-302-strip01/history?from=20&to=10",
        422,
        Some("from"),
        "2000 and 2100",
    ),
    (
        "A-302-strip01/history?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z",
        422,
        Some("from"),
        "before 'to'",
    ),
    (
        "A-302-strip01/history?from=2000-01-01T00:00:00Z&to=2099-01-01T00:00:00Z",
        422,
        Some("from"),
        "ten years",
    ),
    (
        "A-302-strip01/history?from=2026-01-01T00:00:00Z&resolution=raw",
        422,
        Some("resolution"),
        "at most 7 days",
    ),
    (
        "A-302-strip01/history?resolution=second",
        422,
        Some("resolution"),
        "unknown variant",
    ),
    (
        "A-302-strip01/history?fron=1",
        422,
        None,
        "unknown field `fron`",
    ),
    (
        "A-302-strip01/history.csv?from=2026-05-02T00:00:00Z&to=2026-05-01T00:00:00Z",
        422,
        Some("from"),
        "before 'to'",
    ),
];

#[tokio::test]
async fn bad_questions_name_the_parameter_and_the_rule() {
    let history = history().await;
    for (query, status, pointer, rule) in REFUSED {
        let (found, body) = get(&history, query).await;
        assert_eq!(found.as_u16(), *status, "{query}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(rule), "{query}: {body}");
        if let Some(pointer) = pointer {
            assert_eq!(body["errors"][0]["pointer"], *pointer, "{body}");
        }
    }
}

#[tokio::test]
async fn nobody_reads_history_without_signing_in() {
    let (router, _) = router(history().await).split_for_parts();
    for path in ["history", "history.csv"] {
        let request = Request::get(format!("/devices/A-302-strip01/{path}"));
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn an_export_has_every_sample_and_ends_after_the_last() {
    let history = history().await;
    let from = "from=2020-01-01T00:00:00Z";
    let (status, csv) = get(&history, &format!("A-302-strip01/history.csv?{from}")).await;
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 8 * 720);
    assert_eq!(
        format!("{}\n", lines[0]),
        "time,ts,power_w,voltage_v,current_a,energy_wh,power_factor\n"
    );
    assert_eq!(
        lines[5760],
        "2026-05-01T12:00:00.000Z,1777636800000,205.3,229.8,0.955,100000,0.94"
    );
    let (_, csv) = get(
        &history,
        &format!("A-302-strip01/history.csv?{from}&resolution=hour"),
    )
    .await;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 9);
    assert_eq!(
        lines[3],
        "2026-05-01T06:00:00.000Z,1777615200000,720,3600000,205.3,205.3,205.3,216,,,,,"
    );
}
