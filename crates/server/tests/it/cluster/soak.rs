//! Faults at random under load. A few as a test; for as long as one likes with
//! `make soak MINUTES=60 SEED=1`.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::engines::Engines;
use super::lamp::Lamp;
use super::outages::part_is;
use crate::strips::Strips;
use crate::support::{Server, eventually};

/// Faults in the short run.
const FAULTS: u32 = 4;
const NODES: usize = 3;

#[tokio::test]
async fn faults_at_random_lose_nothing_and_double_nothing() {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .and_then(|it| it.parse::<u64>().ok())
    };
    let seed = variable("DORMOUSE_SOAK_SEED").unwrap_or_else(|| rand::rng().random());
    let minutes = variable("DORMOUSE_SOAK_MINUTES");
    say(&format!("DORMOUSE_SOAK_SEED={seed}"));
    let end = minutes.map(|it| Instant::now() + Duration::from_secs(it * 60));
    let mut chance = StdRng::seed_from_u64(seed);

    let engines = Engines::start().await;
    let mut nodes = engines.nodes(NODES).await;
    let mut strips = Strips::start_paced(&nodes[0], 9).await;
    let password = nodes[0].add_device("lamp", 4).await;
    let lamp = Lamp::connect(&nodes[0], "lamp", &password).await;
    let mut sent = BTreeMap::new();
    let mut faults = 0;
    while end.map_or(faults < FAULTS, |end| Instant::now() < end) {
        strips.wait_for(200).await;
        let fault = chance.random_range(0..5);
        say(&format!("fault {faults}: {}", NAMES[fault]));
        happen(fault, &engines, &mut nodes, &strips).await;
        faults += 1;
        strips.wait_for(200).await;
        let node = &nodes[chance.random_range(0..NODES)];
        let command = switch(node, chance.random_range(1..=4)).await;
        let state = verdict(&nodes[0], &command).await;
        sent.insert(command, state);
    }
    strips.finish().await;
    strips.account(&nodes[0]).await;
    let mut executed = BTreeMap::<String, u32>::new();
    for command in lamp.executed() {
        *executed.entry(command).or_default() += 1;
    }
    for (command, state) in &sent {
        let times = executed.get(command).copied().unwrap_or(0);
        assert!(times <= 1, "{command} was executed {times} times");
        if state == "success" {
            assert_eq!(times, 1, "{command} succeeded without being executed");
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

const NAMES: [&str; 5] = [
    "a node is killed",
    "a node restarts",
    "Redis is killed",
    "PostgreSQL crashes",
    "the broker restarts",
];

async fn happen(fault: usize, engines: &Engines, nodes: &mut Vec<Server>, strips: &Strips) {
    match fault {
        0 => {
            let data = nodes.remove(0).kill().await;
            nodes.push(engines.node(&data).await);
        }
        1 => {
            let data = nodes.remove(0).stop().await;
            nodes.push(engines.node(&data).await);
        }
        2 => {
            engines.redis.kill().unwrap();
            strips.wait_for(200).await;
            engines.redis.run().unwrap();
        }
        3 => {
            engines.postgres.crash().unwrap();
            strips.wait_for(200).await;
            engines.postgres.run().unwrap();
        }
        _ => {
            strips.lose_server();
            engines.mosquitto.stop().unwrap();
            for node in &*nodes {
                part_is(node, "mqtt", "down").await;
            }
            engines.mosquitto.resume().unwrap();
            for node in &*nodes {
                part_is(node, "mqtt", "ok").await;
            }
            strips.find_server(&nodes[0]);
        }
    }
}

async fn switch(node: &Server, socket: u8) -> String {
    let path = format!("/api/v1/devices/lamp/sockets/{socket}/commands");
    eventually("a command is taken", async || {
        let body = json!({"action": "on", "sendOffline": true});
        let (status, command) = node.request(Method::POST, &path, Some(body)).await;
        let id = command["cmdId"].as_str()?.to_owned();
        status.is_success().then_some(id)
    })
    .await
}

async fn verdict(node: &Server, command: &str) -> String {
    let path = format!("/api/v1/commands/{command}");
    eventually("a verdict", async || {
        let (status, found) = node.request(Method::GET, &path, None).await;
        let state = found["state"].as_str().filter(|_| status.is_success())?;
        (state != "pending").then(|| state.to_owned())
    })
    .await
}

#[expect(clippy::print_stdout, reason = "a long run shows how far it is")]
fn say(text: &str) {
    println!("{text}");
}
