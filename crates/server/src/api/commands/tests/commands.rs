//! One command at a time.

use super::*;

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
