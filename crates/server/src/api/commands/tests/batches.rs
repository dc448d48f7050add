//! Many commands in one go.

use super::*;

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
