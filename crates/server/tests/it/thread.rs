//! A strip's message all the way in, and a command all the way out and back.

use reqwest::Method;
use serde_json::json;

use crate::strip::Strip;
use crate::support::{Server, eventually};

#[tokio::test]
async fn a_sample_reaches_the_page_and_the_history_and_outlives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device("A-302-strip01", 2).await;
    let mut strip = Strip::connect(&server, "A-302-strip01", &password, 2).await;
    strip
        .publish(
            "telemetry",
            &json!({"powerW": 42.5, "voltageV": 230.1, "seq": 1, "boot": 1}),
        )
        .await;

    let device = server.get("/api/v1/devices/A-302-strip01").await;
    assert_eq!(device["presence"]["state"], "online", "{device}");
    assert_eq!(device["sockets"][0]["on"], false, "{device}");
    let recent = server
        .get("/api/v1/devices/A-302-strip01/telemetry?minutes=5")
        .await;
    assert_eq!(recent["items"][0]["powerW"], 42.5, "{recent}");
    strip.publish("telemetry", &json!({"powerW": "much"})).await;
    let device = server.get("/api/v1/devices/A-302-strip01").await;
    let refusals = &device["refusals"];
    assert_eq!(refusals["counts"]["wrong-type"], 1, "{device}");
    assert_eq!(refusals["last"]["field"], "powerW", "{device}");

    let data = server.kill().await;
    let server = Server::start(&data).await;
    let history = eventually("the sample is in the history", || async {
        let body = server
            .get("/api/v1/devices/A-302-strip01/history?resolution=raw")
            .await;
        let found = body["points"].as_array().is_some_and(|it| !it.is_empty());
        found.then_some(body)
    })
    .await;
    assert_eq!(history["points"].as_array().unwrap().len(), 1, "{history}");
    server.stop().await;
}

#[tokio::test]
async fn a_command_goes_out_and_its_ack_settles_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device("A-302-strip01", 2).await;
    let mut strip = Strip::connect(&server, "A-302-strip01", &password, 2).await;
    let sent = server
        .post(
            "/api/v1/devices/A-302-strip01/sockets/2/commands",
            json!({"action": "on"}),
        )
        .await;
    assert_eq!(sent["state"], "pending", "{sent}");
    let command = strip.command().await;
    assert_eq!(command["cmdId"], sent["cmdId"], "{command}");
    let ack = json!({"cmdId": command["cmdId"], "status": "success", "socketId": 2, "on": true});
    strip.publish("ack", &ack).await;
    let path = format!("/api/v1/commands/{}", sent["cmdId"].as_str().unwrap());
    let settled = eventually("the command is settled", || async {
        let command = server.get(&path).await;
        (command["state"] != "pending").then_some(command)
    })
    .await;
    assert_eq!(settled["state"], "success", "{settled}");
    assert_eq!(settled["evidence"], "acked", "{settled}");
    let device = server.get("/api/v1/devices/A-302-strip01").await;
    assert_eq!(device["sockets"][1]["on"], true, "{device}");
    assert_eq!(device["sockets"][1]["origin"]["kind"], "token", "{device}");
    server.stop().await;
}

#[tokio::test]
async fn revoked_credentials_end_the_session_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device("B-1", 1).await;
    let mut strip = Strip::connect(&server, "B-1", &password, 1).await;
    let (status, body) = server
        .request(Method::POST, "/api/v1/devices/B-1/credentials", None)
        .await;
    assert!(status.is_success(), "{status} {body}");
    strip.until_refused().await;
    let mut old = Strip::open(&server, "B-1", &password);
    assert!(
        old.until_refused().await.to_lowercase().contains("bad"),
        "the old secret is dead"
    );
    server.stop().await;
}
