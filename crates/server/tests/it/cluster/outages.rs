//! Each engine goes away under load and comes back.

use reqwest::Method;
use serde_json::{Value, json};

use super::engines::Engines;
use super::lamp::Lamp;
use crate::strip::Strip;
use crate::strips::Strips;
use crate::support::{Server, eventually};

#[tokio::test]
async fn without_redis_commands_are_refused_and_samples_are_kept() {
    let engines = Engines::start().await;
    let nodes = engines.nodes(2).await;
    let password = nodes[0].add_device("lamp", 4).await;
    let lamp = Lamp::connect(&nodes[0], "lamp", &password).await;
    let mut strips = Strips::start_paced(&nodes[0], 6).await;
    strips.wait_for(300).await;
    switched(&nodes[0], 1).await;
    let password = nodes[0].add_device("mute", 1).await;
    let _mute = Strip::online(&nodes[0], "mute", &password, 1).await;
    let path = "/api/v1/devices/mute/sockets/1/commands";
    let body = json!({"action": "on", "timeoutMs": 60_000, "sendOffline": true});
    let pending = nodes[0].post(path, body).await;
    let pending = format!("cmd:{}", pending["cmdId"].as_str().unwrap());

    engines.redis.kill().unwrap();
    part_is(&nodes[0], "redis", "down").await;
    let refused = eventually("a refusal", async || {
        let (status, problem) = switch(&nodes[0], 2).await;
        (status == 503).then_some(problem)
    })
    .await;
    assert_eq!(
        refused["type"], "/problems/hot-state-unavailable",
        "{refused}"
    );
    strips.wait_for(300).await;

    engines.redis.run().unwrap();
    for node in &nodes {
        part_is(node, "redis", "ok").await;
        switched(node, 3).await;
    }
    eventually("Redis shows what was pending before", async || {
        let state = engines.redis.cli(&["HGET", &pending, "state"]);
        (state.ok()? == "pending").then_some(())
    })
    .await;
    strips.finish().await;
    strips.account(&nodes[1]).await;
    assert_eq!(lamp.executed().len(), 3);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn without_postgresql_messages_wait_in_the_journal_even_of_a_node_that_dies() {
    let engines = Engines::start().await;
    let mut nodes = engines.nodes(2).await;
    let mut strips = Strips::start_paced(&nodes[0], 6).await;
    strips.wait_for(300).await;

    engines.postgres.crash().unwrap();
    for node in &nodes {
        part_is(node, "db", "down").await;
        eventually("messages in the journal", async || {
            // As a stranger on this machine: nobody can tell now whose a token is.
            let metrics = crate::support::http_client().get(format!("{}/metrics", node.http()));
            let metrics = metrics.send().await.ok()?.text().await.ok()?;
            let used = figure(&metrics, "dormouse_journal_used_bytes")?;
            (used > 0.0).then_some(())
        })
        .await;
    }
    strips.wait_for(1_000).await;
    let data = nodes.remove(0).kill().await;
    strips.wait_for(300).await;

    engines.postgres.run().unwrap();
    part_is(&nodes[0], "db", "ok").await;
    nodes.push(engines.node(&data).await);
    strips.wait_for(300).await;
    strips.finish().await;
    strips.account(&nodes[0]).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_broker_that_restarts_loses_nothing_it_has_acknowledged() {
    let engines = Engines::start().await;
    let nodes = engines.nodes(2).await;
    let mut strips = Strips::start_paced(&nodes[0], 6).await;
    strips.wait_for(300).await;
    strips.lose_server();
    engines.mosquitto.stop().unwrap();
    part_is(&nodes[0], "mqtt", "down").await;
    engines.mosquitto.resume().unwrap();
    // Until a node is back Mosquitto has forgotten the shared subscription,
    // and drops what it acknowledges.
    for node in &nodes {
        part_is(node, "mqtt", "ok").await;
    }
    strips.find_server(&nodes[0]);
    strips.wait_for(300).await;
    strips.finish().await;
    strips.account(&nodes[0]).await;
    for node in nodes {
        node.stop().await;
    }
}

pub(crate) async fn part_is(node: &Server, part: &str, state: &str) {
    eventually(&format!("{part} to be {state}"), async || {
        let (_, health) = node.request(Method::GET, "/health", None).await;
        (health["parts"][part]["state"] == state).then_some(())
    })
    .await;
}

async fn switch(node: &Server, socket: u8) -> (u16, Value) {
    let path = format!("/api/v1/devices/lamp/sockets/{socket}/commands");
    let body = json!({"action": "on", "sendOffline": true});
    let (status, answer) = node.request(Method::POST, &path, Some(body)).await;
    (status.as_u16(), answer)
}

/// Switches a socket, sooner or later, and waits for its success.
async fn switched(node: &Server, socket: u8) {
    let command = eventually("the command is taken", async || {
        let (status, command) = switch(node, socket).await;
        (status == 202).then_some(command)
    })
    .await;
    let path = format!("/api/v1/commands/{}", command["cmdId"].as_str().unwrap());
    eventually("the command succeeds", async || {
        (node.get(&path).await["state"] == "success").then_some(())
    })
    .await;
}

fn figure(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find(|line| line.split([' ', '{']).next() == Some(name))?;
    line.rsplit(' ').next()?.parse().ok()
}
