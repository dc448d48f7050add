//! The routes over a real dispatcher on memory ports and a manual clock.

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
    });
    commands.recover().await.unwrap();
    let caller = Caller {
        origin: Origin::User { name: "ann".into() },
        role: Role::Admin,
        key: "user:ann".into(),
    };
    let (router, _) = crate::api::compose([router(dispatcher.clone())]);
    let stop = CancellationToken::new();
    let keeper = crate::dispatch::keep(commands, clock.clone(), stop.clone());
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
        self.dispatcher.on_ack(Ack {
            device: DeviceKey(1),
            device_id: DeviceId::parse("strip-1").unwrap(),
            command: CommandId::parse(id).unwrap(),
            status,
            reason: None,
            on: None,
            boot: None,
            seq: None,
            received_at: self.clock.now(),
        });
    }
}

fn id_of(answer: &Answer) -> String {
    answer.body["cmdId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_command_is_answered_at_once_and_final_after_its_ack() {
    let api = api().await;
    let sent = api.send(1, json!({"action": "on"})).await;
    assert_eq!(sent.status, StatusCode::ACCEPTED, "{}", sent.body);
    let id = id_of(&sent);
    let location = format!("/api/v1/commands/{id}");
    assert_eq!(sent.headers["location"], location.as_str());
    assert_eq!(
        sent.body,
        json!({
            "cmdId": id, "deviceId": "strip-1", "socketId": 1, "action": "on",
            "timeoutMs": 6_000, "state": "pending", "origin": {"kind": "user", "name": "ann"},
            "createdAt": "2026-01-02T12:00:00.000Z", "deadlineAt": "2026-01-02T12:00:06.000Z",
        })
    );
    let published = api.outbox.drain();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].body.cmd_id.to_string(), id);

    api.ack(&id, AckStatus::Success);
    let known = CommandId::parse(&id).unwrap();
    api.dispatcher.wait(known).await.unwrap();
    let shown = api.get(&format!("/commands/{id}")).await;
    assert_eq!(shown.body["state"], "success");
    assert_eq!(shown.body["evidence"], "acked");
    let list = api.get("/devices/strip-1/commands").await;
    assert_eq!(
        list.body,
        json!({"items": [shown.body], "nextCursor": null})
    );
}

#[tokio::test]
async fn wait_answers_with_the_final_command() {
    let api = api().await;
    let path = "/devices/strip-1/sockets/2/commands?wait=true";
    let (answer, ()) = tokio::join!(api.post(path, json!({"action": "off"})), async {
        let mut published = Vec::new();
        while published.is_empty() {
            tokio::task::yield_now().await;
            published = api.outbox.drain();
        }
        let id = published[0].body.cmd_id.to_string();
        api.ack(&id, AckStatus::Failed);
    });
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.body["state"], "failed");
}

#[tokio::test]
async fn a_stopping_server_lets_go_of_those_who_wait() {
    let api = api().await;
    let path = "/devices/strip-1/sockets/2/commands?wait=true";
    let (answer, ()) = tokio::join!(api.post(path, json!({"action": "off"})), async {
        while api.outbox.drain().is_empty() {
            tokio::task::yield_now().await;
        }
        api.stop.cancel();
    });
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.body["state"], "pending");
    let after = api.send(1, json!({"action": "on"})).await;
    assert_eq!(after.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn each_broken_rule_is_named_and_sends_nothing() {
    let api = api().await;
    let cases = [
        (json!({"action": "toggle"}), "/action"),
        (json!({"action": 1}), "/action"),
        (json!({"action": "on", "timeoutMs": 999}), "/timeoutMs"),
        (json!({"action": "on", "timeoutMs": 60_001}), "/timeoutMs"),
        (json!({"action": "on", "timeoutMs": -1}), "/timeoutMs"),
        (json!({"action": "on", "timeoutMs": "6 s"}), "/timeoutMs"),
        (json!({"action": "on", "offMs": 500}), "/offMs"),
        (json!({"action": "cycle", "offMs": 1}), "/offMs"),
        (json!({"action": "cycle", "timeoutMs": 5_999}), "/timeoutMs"),
        (json!({"action": "on", "onPending": "queue"}), "/onPending"),
        (
            json!({"action": "on", "sendOffline": "yes"}),
            "/sendOffline",
        ),
    ];
    for (body, pointer) in cases {
        let answer = api.send(1, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    for body in [json!({}), json!({"action": "on", "colour": "red"})] {
        let answer = api.send(1, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    for (path, status) in [
        ("/devices/nobody/sockets/1/commands", StatusCode::NOT_FOUND),
        ("/devices/strip-1/sockets/5/commands", StatusCode::NOT_FOUND),
        (
            "/devices/strip-1/sockets/33/commands",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/devices/strip-1/sockets/one/commands",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/devices/..%2f/sockets/1/commands",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/devices/strip-1/sockets/1/commands?wait=maybe",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "/devices/strip-1/sockets/1/commands?now=1",
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let answer = api.post(path, json!({"action": "on"})).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
    assert_eq!(api.outbox.drain(), []);
}

#[tokio::test]
async fn a_second_command_is_refused_with_the_pending_one_or_takes_its_place() {
    let api = api().await;
    let first = id_of(&api.send(1, json!({"action": "on"})).await);
    let refused = api.send(1, json!({"action": "off"})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.body["type"], "/problems/command-pending");
    assert_eq!(refused.body["command"]["cmdId"], first.as_str());
    let strip = api.send(0, json!({"action": "off"})).await;
    assert_eq!(strip.body["pending"][0]["cmdId"], first.as_str());

    let body = json!({"action": "off", "onPending": "replace"});
    let second = id_of(&api.send(1, body).await);
    let replaced = api.get(&format!("/commands/{first}")).await.body;
    assert_eq!(replaced["state"], "cancelled");
    assert_eq!(replaced["reason"], format!("replaced by {second}"));
}

#[tokio::test]
async fn a_fourth_command_within_a_second_has_to_wait() {
    let api = api().await;
    for socket in 1..=3 {
        let sent = api.send(socket, json!({"action": "on"})).await;
        assert_eq!(sent.status, StatusCode::ACCEPTED);
    }
    let fourth = api.send(4, json!({"action": "on"})).await;
    assert_eq!(fourth.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fourth.headers["retry-after"], "1");
    api.clock.advance(Duration::from_secs(1));
    let later = api.send(4, json!({"action": "on"})).await;
    assert_eq!(later.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn an_offline_device_is_refused_unless_the_caller_insists() {
    let api = api().await;
    let path = "/devices/strip-2/sockets/1/commands";
    let refused = api.post(path, json!({"action": "on"})).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert_eq!(refused.body["type"], "/problems/device-offline");
    let body = json!({"action": "on", "sendOffline": true});
    assert_eq!(api.post(path, body).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_key_makes_asking_twice_harmless() {
    let api = api().await;
    let path = "/devices/strip-1/sockets/1/commands";
    let ask = |key: &'static str, action: &'static str| {
        let body = json!({"action": action});
        api.call(Method::POST, path, Some(key), body)
    };
    let first = id_of(&ask("k1", "on").await);
    for _ in 0..5 {
        let again = ask("k1", "on").await;
        assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.body);
        assert_eq!(id_of(&again), first);
    }
    let other = ask("k1", "off").await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.body["type"], "/problems/idempotency-key-reused");
    for bad in ["", "two words"] {
        let refused = ask(bad, "on").await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
        assert_eq!(refused.body["errors"][0]["pointer"], "Idempotency-Key");
    }
    assert_eq!(api.outbox.drain().len(), 1);
}

#[tokio::test]
async fn cancelling_says_what_it_means_and_works_once() {
    let api = api().await;
    let id = id_of(&api.send(1, json!({"action": "on"})).await);
    let path = format!("/commands/{id}");
    let cancelled = api.delete(&path).await;
    assert_eq!(cancelled.status, StatusCode::OK);
    assert_eq!(cancelled.body["state"], "cancelled");
    let note = cancelled.body["note"].as_str().unwrap();
    assert!(note.contains("not the message"));
    let again = api.delete(&path).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.body["command"]["cmdId"], id.as_str());
    let nobody = format!("/commands/{}", uuid::Uuid::nil());
    for answer in [api.delete(&nobody).await, api.get(&nobody).await] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    let garbage = api.get("/commands/7").await;
    assert_eq!(garbage.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_list_has_pages_and_refuses_bad_ones() {
    let api = api().await;
    for socket in 1..=3 {
        api.send(socket, json!({"action": "on"})).await;
    }
    let list = "/devices/strip-1/commands";
    let first = api.get(&format!("{list}?limit=2")).await.body;
    let sockets = |page: &Value| -> Vec<u64> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|it| it["socketId"].as_u64().unwrap()).collect()
    };
    assert_eq!(sockets(&first), [3, 2]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = api
        .get(&format!("{list}?limit=2&cursor={cursor}"))
        .await
        .body;
    assert_eq!(sockets(&second), [1]);
    assert_eq!(second["nextCursor"], Value::Null);
    for bad in ["limit=0", "limit=501", "limit=x", "cursor=zzz", "page=2"] {
        let answer = api.get(&format!("{list}?{bad}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    let unknown = api.get("/devices/nobody/commands").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_batch_tells_the_result_of_each_target() {
    let api = api().await;
    let body = json!({"action": "off", "location": "A/3"});
    let started = api.post("/batches", body).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.body);
    assert_eq!(started.body["progress"]["total"], 2);
    let path = format!("/batches/{}", started.body["batchId"].as_str().unwrap());
    let mut published = Vec::new();
    while published.is_empty() {
        tokio::task::yield_now().await;
        published = api.outbox.drain();
    }
    let id = published[0].body.cmd_id;
    api.ack(&id.to_string(), AckStatus::Success);
    api.dispatcher.wait(id).await.unwrap();
    let done = api.get(&path).await.body;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(
        done["results"],
        json!([
            {"deviceId": "strip-1", "socketId": 0, "state": "success",
             "cmdId": id, "evidence": "acked"},
            {"deviceId": "strip-2", "socketId": 0, "state": "refused", "reason": "device-offline"},
        ])
    );
}

#[tokio::test]
async fn a_batch_names_the_target_that_breaks_a_rule() {
    let api = api().await;
    let target = |device: &str, socket: u8| json!({"deviceId": device, "socketId": socket});
    let good = target("strip-1", 1);
    let cases = [
        (
            json!({"targets": [good, target("nobody", 1)]}),
            "/targets/1/deviceId",
        ),
        (
            json!({"targets": [good, target("strip-1", 9)]}),
            "/targets/1/socketId",
        ),
        (
            json!({"targets": [good, target("strip-1", 99)]}),
            "/targets/1/socketId",
        ),
        (json!({"targets": [target("/", 1)]}), "/targets/0/deviceId"),
        (json!({"targets": [good, good]}), "/targets"),
        (json!({"targets": [good, target("strip-1", 0)]}), "/targets"),
        (json!({"targets": []}), "/targets"),
        (json!({"location": "B"}), "/location"),
        (json!({"location": "A//"}), "/location"),
        (json!({}), "/targets"),
        (json!({"location": "A", "targets": [good]}), "/targets"),
    ];
    for (mut body, pointer) in cases {
        body["action"] = json!("on");
        let answer = api.post("/batches", body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{body}");
    }
    let nil = uuid::Uuid::nil();
    let unknown = api.get(&format!("/batches/{nil}")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(api.outbox.drain(), []);
}
