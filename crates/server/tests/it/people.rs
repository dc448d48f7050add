//! Devices and people on the real binary: who gets in, and how far.

use reqwest::{Method, StatusCode};
use rumqttc::{Event, Packet, QoS, SubscribeReasonCode};
use serde_json::{Value, json};

use crate::strip::Strip;
use crate::support::{Server, eventually, run};

/// Subscribes and says whether the broker granted it.
async fn is_granted(strip: &mut Strip, filter: &str) -> bool {
    strip
        .client
        .subscribe(filter, QoS::AtLeastOnce)
        .await
        .unwrap();
    let event = strip
        .until(|event| matches!(event, Event::Incoming(Packet::SubAck(_))))
        .await;
    let Event::Incoming(Packet::SubAck(ack)) = event else {
        panic!("not a SUBACK");
    };
    ack.return_codes != [SubscribeReasonCode::Failure]
}

async fn publish_anywhere(strip: &mut Strip, topic: &str, retain: bool, body: &Value) {
    let body = body.to_string();
    strip
        .client
        .publish(topic, QoS::AtLeastOnce, retain, body)
        .await
        .unwrap();
    strip
        .until(|event| matches!(event, Event::Incoming(Packet::PubAck(_))))
        .await;
}

#[tokio::test]
async fn no_device_reads_or_writes_anothers_topics() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let eves = server.add_device("eve", 1).await;
    let anns = server.add_device("ann", 1).await;
    let mut ann = Strip::connect(&server, "ann", &anns, 1).await;
    let mut eve = Strip::connect(&server, "eve", &eves, 1).await;
    for filter in [
        "dorm/ann/cmd",
        "dorm/ann/status",
        "dorm/ann/#",
        "dorm/+/cmd",
        "dorm/+/status",
        "dorm/#",
        "#",
        "+/+/+",
        "$SYS/#",
        "$share/g/dorm/ann/cmd",
        "$share/g/#",
        "dorm/eve/#",
        "dorm/eve/+",
        "dorm/eve/status",
        "dorm/eve/enrol",
    ] {
        assert!(!is_granted(&mut eve, filter).await, "{filter}");
    }
    assert!(is_granted(&mut eve, "dorm/eve/cmd").await);

    let off =
        json!({"online": false, "boot": 1, "conn": 1, "sockets": [{"socketId": 1, "on": true}]});
    let forged = json!({"cmdId": "00000000-0000-7000-8000-000000000000", "deviceId": "ann",
        "socketId": 1, "action": "on", "ttlMs": 6000, "expiresAt": i64::MAX});
    for (topic, retain, body) in [
        ("dorm/ann/status", true, &off),
        ("dorm/ann/telemetry", false, &json!({"powerW": 1.0})),
        ("dorm/ann/cmd", false, &forged),
        ("dorm/ann/cmd", true, &forged),
        ("dorm/eve/cmd", true, &forged),
        ("elsewhere", false, &off),
    ] {
        publish_anywhere(&mut eve, topic, retain, body).await;
    }

    // Ann hears her own command and nothing of Eve's, who is still connected.
    let command = server
        .post(
            "/api/v1/devices/ann/sockets/1/commands",
            json!({"action": "on"}),
        )
        .await;
    assert_eq!(ann.command().await["cmdId"], command["cmdId"]);
    let shown = server.get("/api/v1/devices/ann").await;
    assert_eq!(shown["presence"]["state"], "online");
    assert_eq!(shown["sockets"][0]["on"], false);
    assert_eq!(shown["latest"], Value::Null);
    eve.publish("telemetry", &json!({"powerW": 7.0})).await;
}

#[tokio::test]
async fn wrong_credentials_are_refused_whatever_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device("ann", 1).await;
    let key = server.get("/api/v1/enrolment").await["joinKey"].clone();
    let key = key.as_str().unwrap();
    for (name, password) in [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", key),
        ("bob", password.as_str()),
        ("ANN", password.as_str()),
        ("", ""),
        ("admin", "public"),
        ("a/b", key),
    ] {
        let mut strip = Strip::open(&server, name, password);
        let error = strip.until_refused().await;
        assert!(error.contains("Connection refused"), "{name}: {error}");
    }
    Strip::connect(&server, "ann", &password, 1).await;
}

#[tokio::test]
async fn a_device_joins_with_the_key_is_approved_and_gets_its_own_password() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let key = server.get("/api/v1/enrolment").await["joinKey"].clone();
    let key = key.as_str().unwrap();
    let mut new = Strip::connect(&server, "A-302-new", key, 2).await;
    assert!(is_granted(&mut new, "dorm/A-302-new/enrol").await);
    new.publish("telemetry", &json!({"powerW": 5.0})).await;

    let inbox = server.get("/api/v1/devices?state=pending").await;
    let waiting = &inbox["items"][0];
    assert_eq!(waiting["deviceId"], "A-302-new");
    assert_eq!(waiting["inbox"]["address"], "127.0.0.1");
    assert_eq!(waiting["inbox"]["firstChannel"], "status");
    assert_eq!(waiting["latest"], Value::Null, "samples are not stored yet");

    server
        .post(
            "/api/v1/devices/A-302-new/approve",
            json!({"name": "Window"}),
        )
        .await;
    let credentials = new.command().await;
    assert_eq!(credentials["username"], "A-302-new");
    let password = credentials["password"].as_str().unwrap();
    let mut own = Strip::connect(&server, "A-302-new", password, 2).await;
    own.publish("telemetry", &json!({"powerW": 5.0})).await;
    let latest = eventually("its first sample", async || {
        let shown = server.get("/api/v1/devices/A-302-new").await;
        shown["latest"]["powerW"].as_f64()
    });
    assert!((latest.await - 5.0).abs() < 0.01);

    let error = Strip::open(&server, "A-302-new", key).until_refused().await;
    assert!(error.contains("Connection refused"), "{error}");
    // And so it stays after a crash.
    let data = server.kill().await;
    let server = Server::start(&data).await;
    Strip::connect(&server, "A-302-new", password, 2).await;
}

#[tokio::test]
async fn the_command_line_works_beside_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let data = dir.path().to_str().unwrap();
    let (code, password, err) = run(&["device", "add", "--data", data, "b-1"]).await;
    assert_eq!(code, 0, "{err}");
    let shown = eventually("the device", async || {
        let path = "/api/v1/devices/b-1";
        let (status, body) = server.request(Method::GET, path, None).await;
        (status == StatusCode::OK).then_some(body)
    });
    assert_eq!(shown.await["hasCredentials"], true);
    let mut strip = Strip::connect(&server, "b-1", password.trim(), 1).await;

    let (code, _, err) = run(&["device", "delete", "--data", data, "b-1"]).await;
    assert_eq!(code, 0, "{err}");
    strip.until_refused().await;

    let (_, list, _) = run(&["token", "list", "--data", data]).await;
    let id = list.split('\t').next().unwrap();
    let (code, _, err) = run(&["token", "revoke", "--data", data, id]).await;
    assert_eq!(code, 0, "{err}");
    eventually("the token's end", async || {
        let (status, _) = server.request(Method::GET, "/api/v1/session", None).await;
        (status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_devices_are_imported_at_once_and_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let rows: String = (0..10_000)
        .map(|n| format!("C-{}-s{n},4\n", 101 + n % 99))
        .collect();
    let answer = crate::support::http_client()
        .post(format!("{}/api/v1/devices.csv", server.http()))
        .bearer_auth(&server.token)
        .header("content-type", "text/csv")
        .header("accept", "text/csv")
        .body(format!("deviceId,sockets\n{rows}"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let credentials = answer.text().await.unwrap();
    let last = credentials.lines().last().unwrap().to_owned();
    let data = server.stop().await;

    let server = Server::start(&data).await;
    let fields: Vec<_> = last.split(',').collect();
    Strip::connect(&server, fields[1], fields[2], 4).await;
    let page = server.get("/api/v1/devices?limit=500&q=s9999").await;
    assert_eq!(page["items"][0]["deviceId"], fields[0]);
    server.stop().await;
}
