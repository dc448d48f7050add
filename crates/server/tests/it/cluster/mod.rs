//! Three nodes on one Mosquitto, one Redis and one PostgreSQL behave as one.

mod engines;
mod guarded;
mod kinds;
mod lamp;
mod outages;
mod refusals;
mod soak;
mod starts;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::strip::Strip;
use crate::strips::Strips;
use crate::support::{Server, eventually};
use crate::watcher::Watcher;
use engines::Engines;

pub(crate) use lamp::Lamp;
pub(crate) use outages::part_is;

/// What other nodes take over from one that died must be taken over within this.
pub(crate) const COVER: Duration = Duration::from_secs(10);

#[tokio::test]
async fn commands_go_through_any_node_and_get_one_verdict_each() {
    let engines = Engines::start().await;
    let nodes = engines.nodes(3).await;
    let mut lamps = Vec::new();
    for n in 0..6 {
        let id = format!("strip-{n}");
        let password = nodes[n % 3].add_device(&id, 4).await;
        lamps.push(Lamp::connect(&nodes[0], &id, &password).await);
    }
    for node in &nodes {
        eventually("six strips online", || online(node, 6)).await;
    }
    let mut watched = Vec::new();
    for node in &nodes {
        watched.push(Watcher::of(node, &["fleet"]).await.0);
    }
    let mut sent = BTreeMap::new();
    for round in 0..3 {
        for n in 0..6 {
            let node = &nodes[(round + n) % 3];
            let path = format!("/api/v1/devices/strip-{n}/sockets/{}/commands", round + 1);
            let command = node.post(&path, json!({"action": "on"})).await;
            sent.insert(command["cmdId"].as_str().unwrap().to_owned(), n);
        }
    }
    for (command, n) in &sent {
        for node in &nodes {
            let found = eventually("the verdict on every node", async || {
                let found = node.get(&format!("/api/v1/commands/{command}")).await;
                (found["state"] != "pending").then_some(found)
            })
            .await;
            assert_eq!(found["state"], "success", "strip-{n}: {found}");
        }
    }
    let redis = |command: &[&str]| engines.redis.cli(command).unwrap();
    let recent = redis(&["LRANGE", "device:{strip-0}:cmds", "0", "-1"]);
    for (command, _) in sent.iter().filter(|(_, n)| **n == 0) {
        assert!(recent.contains(command.as_str()), "{recent}");
        let state = redis(&["HGET", &format!("cmd:{command}"), "state"]);
        assert_eq!(state, "success");
    }
    assert!(!redis(&["HGETALL", "lastCmd:{strip-0}:1"]).is_empty());
    for watch in &mut watched {
        let mut verdicts = BTreeMap::<String, Vec<Value>>::new();
        while verdicts.len() < sent.len() {
            let message = watch.next_of(&["command", "snapshot"]).await;
            // A new snapshot takes the place of what came before it.
            if message["type"] == "snapshot" {
                break;
            }
            if message["state"] == "success" {
                let id = message["cmdId"].as_str().unwrap().to_owned();
                verdicts.entry(id).or_default().push(message);
            }
        }
        let twice: Vec<_> = verdicts.values().filter(|them| them.len() != 1).collect();
        assert!(twice.is_empty(), "told more than once: {twice:?}");
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn the_limits_hold_whichever_node_is_asked() {
    let engines = Engines::start().await;
    let nodes = engines.nodes(3).await;
    let password = nodes[0].add_device("strip", 4).await;
    let _strip = Strip::connect(&nodes[0], "strip", &password, 4).await;
    for node in &nodes {
        eventually("the strip online", || online(node, 1)).await;
    }
    let send = async |node: &Server, socket: u8| {
        let path = format!("/api/v1/devices/strip/sockets/{socket}/commands");
        let body = json!({"action": "on", "timeoutMs": 60_000});
        let (status, _) = node.request(reqwest::Method::POST, &path, Some(body)).await;
        status.as_u16()
    };
    // One pending command on a socket, three commands in a second.
    let answers = tokio::join!(send(&nodes[0], 1), send(&nodes[1], 1), send(&nodes[2], 1),);
    let mut answers = [answers.0, answers.1, answers.2];
    answers.sort_unstable();
    assert_eq!(answers, [202, 409, 409]);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let answers = [
        send(&nodes[0], 2).await,
        send(&nodes[1], 3).await,
        send(&nodes[2], 4).await,
        send(&nodes[0], 4).await,
    ];
    assert_eq!(answers, [202, 202, 202, 429]);
}

#[tokio::test]
async fn a_strip_that_goes_is_one_event_wherever_one_looks() {
    let engines = Engines::start().await;
    let nodes = engines.nodes(3).await;
    let mut strips = Vec::new();
    for n in 0..5 {
        let id = format!("strip-{n}");
        let password = nodes[0].add_device(&id, 1).await;
        strips.push(Strip::online(&nodes[0], &id, &password, 1).await);
    }
    for node in &nodes {
        eventually("five strips online", || online(node, 5)).await;
    }
    // Cut off: their wills are published.
    drop(strips);
    for node in &nodes {
        eventually("nobody online", || online(node, 0)).await;
    }
    let mut gone = eventually("the events are kept", async || {
        let events = nodes[1].get("/api/v1/events?type=DEVICE_OFFLINE").await;
        let of = |event: &Value| event["deviceId"].as_str().unwrap().to_owned();
        let gone: Vec<_> = events["items"].as_array().unwrap().iter().map(of).collect();
        (gone.len() >= 5).then_some(gone)
    })
    .await;
    gone.sort_unstable();
    assert_eq!(
        gone,
        ["strip-0", "strip-1", "strip-2", "strip-3", "strip-4"]
    );
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_dies_is_covered_by_the_others() {
    let engines = Engines::start().await;
    let mut nodes = engines.nodes(3).await;
    let mut strips = Strips::start_paced(&nodes[0], 12).await;
    strips.wait_for(1_000).await;
    let password = nodes[0].add_device("mute", 2).await;
    let mute = Strip::online(&nodes[0], "mute", &password, 1).await;
    eventually("the mute strip is online", async || {
        let device = nodes[0].get("/api/v1/devices/mute").await;
        (device["presence"]["state"] == "online").then_some(())
    })
    .await;
    // Whichever of them leads: each of the first two dies in turn.
    for _ in 0..2 {
        let node = nodes.remove(0);
        let path = "/api/v1/devices/mute/sockets/1/commands";
        let command = node
            .post(path, json!({"action": "on", "timeoutMs": 2_000}))
            .await;
        let command = format!("/api/v1/commands/{}", command["cmdId"].as_str().unwrap());
        node.kill().await;
        let died = Instant::now();
        let survivor = &nodes[0];
        let found = eventually("the verdict on a dead node's command", async || {
            let found = survivor.get(&command).await;
            (found["state"] != "pending").then_some(found)
        })
        .await;
        assert_eq!(found["state"], "timeout", "{found}");
        assert!(died.elapsed() < COVER, "{:?}", died.elapsed());
        strips.wait_for(1_000).await;
        // Its share of the messages is taken over.
        timeout(COVER, async {
            eventually("no share without a node", async || {
                let nodes = survivor.get("/api/v1/nodes").await;
                let live = nodes["items"].as_array()?.len();
                (live == nodes_left(&nodes)).then_some(())
            })
            .await;
        })
        .await
        .unwrap();
    }
    drop(mute);
    eventually("the mute strip is offline", async || {
        let device = nodes[0].get("/api/v1/devices/mute").await;
        (device["presence"]["state"] == "offline").then_some(())
    })
    .await;
    strips.finish().await;
    strips.account(&nodes[0]).await;
}

#[tokio::test]
async fn all_nodes_restarted_in_turn_under_load_lose_nothing_and_double_nothing() {
    let engines = Engines::start().await;
    let mut nodes = engines.nodes(3).await;
    let mut strips = Strips::start_paced(&nodes[0], 12).await;
    let password = nodes[0].add_device("lamp", 4).await;
    let lamp = Lamp::connect(&nodes[0], "lamp", &password).await;
    for node in &nodes {
        eventually("the lamp is known", async || {
            let (status, device) = node
                .request(reqwest::Method::GET, "/api/v1/devices/lamp", None)
                .await;
            (status.is_success() && device["presence"]["state"] == "online").then_some(())
        })
        .await;
    }
    let mut sent = Vec::new();
    for turn in 0..6 {
        strips.wait_for(300).await;
        if turn % 2 == 0 {
            let data = nodes.remove(0).stop().await;
            nodes.push(engines.node(&data).await);
        }
        for (socket, node) in (1..).zip(&nodes) {
            let path = format!("/api/v1/devices/lamp/sockets/{socket}/commands");
            let action = if turn % 2 == 0 { "on" } else { "off" };
            let command = eventually("a command is taken", async || {
                let body = json!({"action": action});
                let (status, command) =
                    node.request(reqwest::Method::POST, &path, Some(body)).await;
                status.is_success().then_some(command)
            })
            .await;
            sent.push(command["cmdId"].as_str().unwrap().to_owned());
        }
        for command in &sent[sent.len() - 3..] {
            let found = eventually("a verdict", async || {
                let found = nodes[0].get(&format!("/api/v1/commands/{command}")).await;
                (found["state"] != "pending").then_some(found)
            })
            .await;
            assert_eq!(found["state"], "success", "{found}");
        }
    }
    strips.finish().await;
    strips.account(&nodes[2]).await;
    let mut executed = lamp.executed();
    executed.sort_unstable();
    sent.sort_unstable();
    assert_eq!(executed, sent, "each command was executed once");
}

async fn online(node: &Server, expected: u64) -> Option<()> {
    let fleet = node.get("/api/v1/stats/fleet").await;
    (fleet["online"].as_u64() == Some(expected)).then_some(())
}

/// How many shares of the broker's messages have a node that lives.
fn nodes_left(nodes: &Value) -> usize {
    let leases = |node: &Value| node["leases"].as_array().cloned().unwrap_or_default();
    nodes["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(leases)
        .filter(|lease| lease.as_str().is_some_and(|it| it.starts_with("slot/")))
        .count()
}
