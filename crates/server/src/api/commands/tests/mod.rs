//! The routes over a real dispatcher on memory ports and a manual clock.

mod batches;
mod commands;

use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use dormouse_core::access::Role;
use dormouse_core::clock::{Clock, ManualClock, Timestamp};
use dormouse_core::command::Batch;
use dormouse_core::device::{Device, DeviceSettings, DeviceState};
use dormouse_core::event::{Event, Origin};
use dormouse_core::ids::DeviceKey;
use dormouse_core::memory::{MemoryCommands, Outbox};
use dormouse_core::reported::RelayReport;
use dormouse_core::services::dispatcher::{
    Ack, Change, DispatcherParts, Fleet, Outlet, dispatcher,
};
use dormouse_core::wire::AckStatus;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

use super::*;

/// `strip-1` is online and has four sockets, `strip-2` is offline.
#[derive(Default)]
struct TestFleet(Mutex<Vec<RelayReport>>);

fn strip(number: u32) -> Device {
    Device {
        key: DeviceKey(number),
        id: DeviceId::parse(&format!("strip-{number}")).unwrap(),
        state: DeviceState::Active,
        settings: DeviceSettings {
            sockets: Some(4),
            location: format!("A/3/30{number}"),
            ..DeviceSettings::default()
        },
        reported: None,
        version: 1,
        created_at: Timestamp::from_millis(0),
    }
}

impl Fleet for TestFleet {
    fn device(&self, id: &DeviceId) -> Option<Arc<Device>> {
        let known = [strip(1), strip(2)].into_iter();
        known.map(Arc::new).find(|it| it.id == *id)
    }

    fn at_location(&self, location: &str) -> Vec<Arc<Device>> {
        let inside =
            |it: &Device| dormouse_core::location::is_inside(&it.settings.location, location);
        let known = [strip(1), strip(2)].into_iter();
        known.filter(inside).map(Arc::new).collect()
    }

    fn is_online(&self, device: DeviceKey) -> bool {
        device == DeviceKey(1)
    }

    fn relay_reported(&self, report: RelayReport) {
        self.0.lock().unwrap().push(report);
    }
}

struct Nobody;

impl Outlet for Nobody {
    fn command(&self, _command: &Arc<Command>, _change: Change<'_>) {}
    fn batch(&self, _batch: &Arc<Batch>) {}
    fn event(&self, _event: Event) {}
}

struct Api {
    router: Router,
    dispatcher: Arc<Dispatcher>,
    outbox: Arc<Outbox>,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    _loop: AbortOnDropHandle<()>,
}

/// Starts the API; the loop runs until the test ends.
#[expect(clippy::disallowed_methods, reason = "a test has no Tasks")]
async fn api() -> Api {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_355_200_000)));
    let outbox = Arc::new(Outbox::default());
    let (dispatcher, mut commands) = dispatcher(DispatcherParts {
        store: Arc::new(MemoryCommands::default()),
        sink: outbox.clone(),
        fleet: Arc::new(TestFleet::default()),
        outlet: Arc::new(Nobody),
        clock: clock.clone(),
        nodes: None,
    });
    commands.recover().await.unwrap();
    let caller = Caller {
        origin: Origin::User { name: "ann".into() },
        role: Role::Admin,
        key: "user:ann".into(),
    };
    let (router, _) = crate::api::compose([], [router(dispatcher.clone())]);
    let stop = CancellationToken::new();
    let keeper = crate::upkeep::commands(commands, clock.clone(), stop.clone());
    Api {
        router: router.layer(axum::Extension(caller)),
        dispatcher,
        outbox,
        clock,
        stop,
        _loop: AbortOnDropHandle::new(tokio::spawn(keeper)),
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    async fn call(&self, method: Method, path: &str, key: Option<&str>, body: Value) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, None, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, Value::Null).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, Value::Null).await
    }

    async fn send(&self, socket: u8, body: Value) -> Answer {
        let path = format!("/devices/strip-1/sockets/{socket}/commands");
        self.post(&path, body).await
    }

    fn ack(&self, id: &str, status: AckStatus) {
        self.dispatcher.on_ack(
            Ack {
                device: DeviceKey(1),
                device_id: DeviceId::parse("strip-1").unwrap(),
                command: CommandId::parse(id).unwrap(),
                status,
                reason: None,
                on: None,
                boot: None,
                seq: None,
                received_at: self.clock.now(),
            },
            None,
        );
    }
}

fn id_of(answer: &Answer) -> String {
    answer.body["cmdId"].as_str().unwrap().to_owned()
}
