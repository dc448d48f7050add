use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use dormouse_core::access::Role;
use dormouse_core::clock::ManualClock;
use dormouse_core::event::{Event, Origin};
use dormouse_core::ids::{DeviceKey, EventId};
use dormouse_core::live::LiveHub;
use dormouse_core::memory::{MemoryDirectory, MemoryEvents, MemoryIncidents};
use dormouse_core::ports::{EventStore as _, IncidentStore as _};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;

fn event(n: u8) -> Event {
    Event {
        id: EventId(Uuid::from_u128(n.into())),
        device: Some((DeviceKey(7), DeviceId::parse("A-302-strip01").unwrap())),
        socket: None,
        kind: EventType::DeviceOffline,
        severity: Severity::Warning,
        ts: Timestamp::from_millis(n.into()),
        received_at: Timestamp::from_millis(n.into()),
        origin: Origin::Server,
        data: json!({"reason": "will"}),
    }
}

async fn site() -> Router {
    let clock = Arc::new(ManualClock::default());
    let directory = Arc::new(MemoryDirectory::default());
    let store = Arc::new(MemoryEvents::default());
    let kept: Vec<_> = (0..5).map(event).collect();
    store.append(&kept).await.unwrap();
    let live = Arc::new(LiveHub::new(directory.clone()));
    let events = Arc::new(EventLog::new(store, live, clock.clone()));
    let store = Arc::new(MemoryIncidents::default());
    let incident = Incident {
        id: IncidentId(Uuid::from_u128(1)),
        location: "A/3".to_owned(),
        started_at: Timestamp::from_millis(5),
        ended_at: None,
        devices: BTreeMap::from([
            (DeviceId::parse("a").unwrap(), Returned::NotYet),
            (
                DeviceId::parse("b").unwrap(),
                Returned::At(Timestamp::from_millis(9)),
            ),
        ]),
    };
    store.put(&incident).await.unwrap();
    let incidents = Incidents::new(store, directory, events.clone(), clock);
    router(events, Arc::new(incidents)).split_for_parts().0
}

async fn get(router: &Router, path: &str) -> (StatusCode, Value) {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Caller {
        origin: Origin::Server,
        role: Role::Viewer,
        key: "test".into(),
    });
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn events_are_listed_newest_first_page_by_page() {
    let router = site().await;
    let mut path = "/events?limit=2".to_owned();
    let mut times = Vec::new();
    loop {
        let (status, page) = get(&router, &path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for item in page["items"].as_array().unwrap() {
            times.push(item["ts"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/events?limit=2&cursor={cursor}");
    }
    let expected: Vec<_> = (0..5)
        .rev()
        .map(|ms| Timestamp::from_millis(ms).to_rfc3339())
        .collect();
    assert_eq!(times, expected);
}

#[tokio::test]
async fn an_event_is_shown_as_documented() {
    let (_, page) = get(&site().await, "/events?type=DEVICE_OFFLINE&limit=1").await;
    assert_eq!(
        page["items"][0],
        json!({
            "id": Uuid::from_u128(4).to_string(),
            "deviceId": "A-302-strip01",
            "type": "DEVICE_OFFLINE",
            "severity": "warning",
            "ts": "1970-01-01T00:00:00.004Z",
            "receivedAt": "1970-01-01T00:00:00.004Z",
            "origin": {"kind": "server"},
            "data": {"reason": "will"},
        })
    );
}

#[tokio::test]
async fn an_incident_lists_its_devices() {
    let (status, page) = get(&site().await, "/incidents?open=true").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(page["nextCursor"], Value::Null);
    let incident = &page["items"][0];
    assert_eq!(incident["location"], "A/3");
    assert_eq!(incident["missing"], 1);
    assert_eq!(
        incident["devices"],
        json!([
            {"deviceId": "a", "backAt": null},
            {"deviceId": "b", "backAt": "1970-01-01T00:00:00.009Z"},
        ])
    );
}

#[tokio::test]
async fn each_bad_parameter_is_named() {
    let router = site().await;
    for (query, parameter) in [
        ("deviceId=a%2Fb", "deviceId"),
        ("type=nonsense", "type"),
        ("severity=loud", "severity"),
        ("from=yesterday", "from"),
        ("to=tomorrow", "to"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("from=1926-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("cursor=%21", "cursor"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-1", "limit"),
        ("colour=red", "colour"),
    ] {
        let (status, problem) = get(&router, &format!("/events?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let named = problem["errors"][0]["pointer"].as_str().unwrap();
        let said = problem["detail"].as_str().unwrap();
        assert!(
            named == parameter || said.contains(parameter),
            "{query}: {problem}"
        );
    }
}

#[tokio::test]
async fn nothing_is_told_to_strangers() {
    for path in ["/events", "/incidents"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = site().await.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
}
