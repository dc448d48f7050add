//! Commands from REST to a strip and back, and across a crash.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{PATIENCE, Server, eventually};

/// A strip on the server's broker that does what the test says.
struct Strip {
    id: String,
    client: AsyncClient,
    commands: mpsc::Receiver<Value>,
    _network: JoinSet<()>,
}

impl Strip {
    /// Connects, listens for commands, and says that it is there.
    async fn connect(server: &Server, id: &str, password: &str) -> Self {
        let (host, port) = server.mqtt();
        let mut options = MqttOptions::new(id, host, port);
        options.set_credentials(id, password);
        let (client, mut events) = AsyncClient::new(options, 16);
        let (sender, commands) = mpsc::channel(64);
        let mut network = JoinSet::new();
        network.spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(publish)) = event {
                    let body = serde_json::from_slice(&publish.payload).unwrap();
                    sender.send(body).await.ok();
                }
            }
        });
        let topic = format!("dorm/{id}/cmd");
        client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        let strip = Self {
            id: id.to_owned(),
            client,
            commands,
            _network: network,
        };
        strip.status(&[false; 4]).await;
        eventually("the strip is online", || async {
            let device = server.get(&format!("/api/v1/devices/{id}")).await;
            (device["presence"]["state"] == "online").then_some(())
        })
        .await;
        strip
    }

    async fn publish(&self, channel: &str, body: Value) {
        let topic = format!("dorm/{}/{channel}", self.id);
        self.client
            .publish(topic, QoS::AtLeastOnce, false, body.to_string())
            .await
            .unwrap();
    }

    async fn status(&self, relays: &[bool]) {
        let sockets: Vec<Value> = (1..)
            .zip(relays)
            .map(|(socket, on): (u8, _)| json!({"socketId": socket, "on": on}))
            .collect();
        self.publish("status", json!({"online": true, "sockets": sockets}))
            .await;
    }

    async fn ack(&self, command: &str, status: &str) {
        self.publish("ack", json!({"cmdId": command, "status": status}))
            .await;
    }

    async fn next_command(&mut self) -> Value {
        timeout(PATIENCE, self.commands.recv())
            .await
            .expect("a command in time")
            .unwrap()
    }
}

async fn with_strip(server: &Server, id: &str) -> (Strip, String) {
    let password = server.add_device(id, 4).await;
    let strip = Strip::connect(server, id, &password).await;
    (strip, password)
}

async fn send(server: &Server, device: &str, socket: u8, body: Value) -> String {
    let path = format!("/api/v1/devices/{device}/sockets/{socket}/commands");
    let command = server.post(&path, body).await;
    command["cmdId"].as_str().unwrap().to_owned()
}

async fn show(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/v1/commands/{id}")).await
}

async fn settled(server: &Server, id: &str) -> Value {
    eventually("the command is final", || async {
        let command = show(server, id).await;
        (command["state"] != "pending").then_some(command)
    })
    .await
}

#[tokio::test]
async fn a_command_reaches_the_strip_and_its_ack_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (mut strip, _) = with_strip(&server, "A-302-strip01").await;
    let path = "/api/v1/devices/A-302-strip01/sockets/2/commands?wait=true";
    let (answer, told) = tokio::join!(server.post(path, json!({"action": "on"})), async {
        let told = strip.next_command().await;
        strip.ack(told["cmdId"].as_str().unwrap(), "success").await;
        told
    });
    assert_eq!(answer["state"], "success", "{answer}");
    assert_eq!(answer["evidence"], "acked", "{answer}");
    assert_eq!(told["cmdId"], answer["cmdId"]);
    assert_eq!(told["deviceId"], "A-302-strip01");
    assert_eq!(
        (&told["socketId"], &told["action"]),
        (&json!(2), &json!("on"))
    );
    assert_eq!(told["ttlMs"], 6_000);

    let device = server.get("/api/v1/devices/A-302-strip01").await;
    let socket = &device["sockets"][1];
    assert_eq!(socket["on"], true, "{device}");
    assert_eq!(socket["origin"], json!({"kind": "token", "name": "test"}));
    let audit = eventually("the audit log has it", || async {
        let audit = server.get("/api/v1/audit?action=command.send").await;
        (audit["items"] != json!([])).then_some(audit)
    })
    .await;
    assert_eq!(
        audit["items"][0]["data"]["cmdId"], answer["cmdId"],
        "{audit}"
    );
    server.stop().await;
}

#[tokio::test]
async fn firmware_without_acks_is_believed_when_its_relay_moves() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (mut strip, _) = with_strip(&server, "A-1").await;
    let id = send(&server, "A-1", 1, json!({"action": "on"})).await;
    strip.next_command().await;
    strip.status(&[true, false, false, false]).await;
    let command = settled(&server, &id).await;
    assert_eq!(command["evidence"], "inferred", "{command}");
    let device = server.get("/api/v1/devices/A-1").await;
    assert_eq!(device["sockets"][0]["origin"]["kind"], "token", "{device}");
    server.stop().await;
}

#[tokio::test]
async fn a_strip_cannot_answer_for_another() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (mut strip, _) = with_strip(&server, "A-1").await;
    let (intruder, _) = with_strip(&server, "A-2").await;
    let id = send(&server, "A-1", 1, json!({"action": "on"})).await;
    strip.next_command().await;
    intruder.ack(&id, "failed").await;
    eventually("the foreign ack is an event", || async {
        let events = server.get("/api/v1/events?type=foreign-ack").await;
        (events["items"][0]["deviceId"] == "A-2").then_some(())
    })
    .await;
    assert_eq!(show(&server, &id).await["state"], "pending");
    strip.ack(&id, "success").await;
    assert_eq!(settled(&server, &id).await["state"], "success");
    server.stop().await;
}

#[tokio::test]
async fn a_silent_strip_times_out_at_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (mut strip, _) = with_strip(&server, "A-1").await;
    let path = "/api/v1/devices/A-1/sockets/1/commands?wait=true";
    let started = Instant::now();
    let body = json!({"action": "on", "timeoutMs": 1_000});
    let command = server.post(path, body).await;
    let took = started.elapsed();
    assert_eq!(command["state"], "timeout", "{command}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    let late = millis(&command["settledAt"]) - millis(&command["deadlineAt"]);
    // A tenth of a second is the promise; a busy test machine gets more.
    assert!((0..=250).contains(&late), "{late} ms late");
    let id = strip.next_command().await["cmdId"].clone();
    strip.ack(id.as_str().unwrap(), "success").await;
    let command = eventually("the late ack is recorded", || async {
        let command = show(&server, id.as_str().unwrap()).await;
        (command["lateOutcome"] == "success").then_some(command)
    })
    .await;
    assert_eq!(command["state"], "timeout");
    server.stop().await;
}

fn millis(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}

#[tokio::test]
async fn commands_pending_at_a_crash_get_their_verdicts_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (mut strip, password) = with_strip(&server, "A-1").await;
    let acked = send(&server, "A-1", 1, json!({"action": "on"})).await;
    strip.next_command().await;
    strip.ack(&acked, "success").await;
    let before = settled(&server, &acked).await;
    let short = send(
        &server,
        "A-1",
        2,
        json!({"action": "on", "timeoutMs": 1_000}),
    )
    .await;
    let long = send(
        &server,
        "A-1",
        3,
        json!({"action": "on", "timeoutMs": 60_000}),
    )
    .await;
    for id in [&short, &long] {
        assert_eq!(strip.next_command().await["cmdId"], id.as_str());
    }
    drop(strip);

    let data = server.kill().await;
    let server = Server::start(&data).await;
    let ready = Instant::now();
    assert_eq!(
        show(&server, &acked).await,
        before,
        "what was final stays so"
    );
    let timed_out = settled(&server, &short).await;
    assert_eq!(timed_out["state"], "timeout", "{timed_out}");
    // Its deadline was at most a second after the crash.
    assert!(ready.elapsed() < Duration::from_secs(2));
    assert_eq!(show(&server, &long).await["state"], "pending");

    let mut strip = Strip::connect(&server, "A-1", &password).await;
    let path = "/api/v1/devices/A-1/sockets/3/commands";
    let (status, refused) = server
        .request(Method::POST, path, Some(json!({"action": "on"})))
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["command"]["cmdId"], long.as_str());
    strip.ack(&long, "success").await;
    assert_eq!(settled(&server, &long).await["state"], "success");
    // The socket is free again, and nothing old was sent a second time.
    let next = send(&server, "A-1", 3, json!({"action": "on"})).await;
    assert_eq!(strip.next_command().await["cmdId"], next.as_str());

    let list = server.get("/api/v1/devices/A-1/commands").await;
    let states: HashMap<&str, &str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["cmdId"].as_str().unwrap(), it["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states.len(), 4, "{list}");
    assert_eq!(states[long.as_str()], "success");
    assert_eq!(states[short.as_str()], "timeout");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_answers_those_who_wait() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let (mut strip, _) = with_strip(&server, "A-1").await;
    let url = format!(
        "{}/api/v1/devices/A-1/sockets/1/commands?wait=true",
        server.http()
    );
    let waiting = crate::support::http_client()
        .post(url)
        .bearer_auth(&server.token)
        .json(&json!({"action": "on", "timeoutMs": 60_000}))
        .send();
    let stopping = async {
        strip.next_command().await;
        let started = Instant::now();
        server.stop().await;
        started.elapsed()
    };
    let (answer, took) = tokio::join!(waiting, stopping);
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let command: Value = answer.json().await.unwrap();
    assert_eq!(command["state"], "pending");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
