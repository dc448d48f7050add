//! Who is there, as watchers, lists and a restart see it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::strip::Strip;
use crate::support::{Server, eventually};
use crate::watcher::Watcher;

const ID: &str = "A-302-strip01";

/// The kinds of the device's changes of presence, oldest first, once there
/// are `count` of them.
async fn kept(server: &Server, count: usize) -> Vec<String> {
    eventually("the events are kept", || async {
        let path = format!("/api/v1/events?deviceId={ID}");
        // A refusal by the read limit is tried again.
        let (status, page) = server.request(Method::GET, &path, None).await;
        if status != StatusCode::OK {
            return None;
        }
        let kinds: Vec<String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .filter(|kind| kind.starts_with("DEVICE_"))
            .collect();
        (kinds.len() >= count).then_some(kinds)
    })
    .await
}

async fn presence(server: &Server) -> Value {
    let device = server.get(&format!("/api/v1/devices/{ID}")).await;
    device["presence"].clone()
}

#[tokio::test]
async fn a_strip_that_loses_power_is_offline_at_once_and_back_with_its_first_word() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device(ID, 2).await;
    let (mut watcher, snapshot) = Watcher::of(&server, &["fleet"]).await;
    assert_eq!(snapshot["fleet"]["never"], 1, "{snapshot}");

    let strip = Strip::online(&server, ID, &password, 1).await;
    let online = watcher.next("DEVICE_ONLINE").await;
    assert_eq!(online["deviceId"], ID);
    assert_eq!(presence(&server).await["state"], "online");

    let cut = Instant::now();
    drop(strip);
    let offline = watcher.next("DEVICE_OFFLINE").await;
    assert!(
        cut.elapsed() < Duration::from_secs(1),
        "{:?}",
        cut.elapsed()
    );
    let reason = offline["presence"]["reason"].as_str().unwrap();
    assert!(["will", "lost"].contains(&reason), "{reason}");
    let totals = server.get("/api/v1/stats/fleet").await;
    assert_eq!(
        (&totals["online"], &totals["offline"]),
        (&json!(0), &json!(1))
    );

    let strip = Strip::online(&server, ID, &password, 2).await;
    watcher.next("DEVICE_ONLINE").await;
    strip.disconnect().await;
    let offline = watcher.next("DEVICE_OFFLINE").await;
    assert_eq!(offline["presence"]["reason"], "disconnect");
    assert_eq!(
        kept(&server, 4).await,
        [
            "DEVICE_ONLINE",
            "DEVICE_OFFLINE",
            "DEVICE_ONLINE",
            "DEVICE_OFFLINE"
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_strip_that_reconnects_before_its_old_connection_broke_was_never_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device(ID, 2).await;
    let (mut watcher, _) = Watcher::of(&server, &["events"]).await;
    let old = Strip::online(&server, ID, &password, 1).await;
    watcher.next("DEVICE_ONLINE").await;
    let new = Strip::online(&server, ID, &password, 2).await;
    drop(old);
    new.disconnect().await;
    let offline = watcher.next("DEVICE_OFFLINE").await;
    assert_eq!(offline["presence"]["reason"], "disconnect");
    assert_eq!(kept(&server, 2).await, ["DEVICE_ONLINE", "DEVICE_OFFLINE"]);
    server.stop().await;
}

#[tokio::test]
async fn silence_on_an_open_connection_is_offline_within_a_second_of_being_due() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("DORMOUSE__PRESENCE__OFFLINE_AFTER", "1")];
    let server = Server::start_with(dir.path(), &env).await;
    let password = server.add_device(ID, 2).await;
    let (mut watcher, _) = Watcher::of(&server, &["device:A-302-strip01"]).await;
    let mut strip = Strip::online(&server, ID, &password, 1).await;
    watcher.next("DEVICE_ONLINE").await;
    strip.publish("telemetry", &json!({"powerW": 5.0})).await;
    let last = Instant::now();
    let offline = watcher.next("DEVICE_OFFLINE").await;
    let silence = last.elapsed();
    assert_eq!(offline["presence"]["reason"], "silence");
    let due = Duration::from_millis(900)..Duration::from_secs(2);
    assert!(due.contains(&silence), "{silence:?}");
    strip.publish("telemetry", &json!({"powerW": 5.0})).await;
    watcher.next("DEVICE_ONLINE").await;
    server.stop().await;
}

#[tokio::test]
async fn a_crash_of_the_server_takes_nobody_offline() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let password = server.add_device(ID, 2).await;
    let strip = Strip::online(&server, ID, &password, 1).await;
    assert_eq!(kept(&server, 1).await, ["DEVICE_ONLINE"]);
    server.kill().await;
    drop(strip);

    let server = Server::start(dir.path()).await;
    assert_eq!(presence(&server).await["state"], "online");
    let strip = Strip::online(&server, ID, &password, 2).await;
    strip.disconnect().await;
    assert_eq!(
        kept(&server, 2).await,
        ["DEVICE_ONLINE", "DEVICE_OFFLINE"],
        "it was declared neither gone nor back"
    );
    server.stop().await;
}
