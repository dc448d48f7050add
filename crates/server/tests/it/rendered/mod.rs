//! The program on a broker that runs on exactly what `dormouse broker …
//! render` wrote: on Mosquitto always, on EMQX by `make emqx-check`.

mod site;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::strip::Strip;
use crate::strips::Strips;
use crate::support::{Server, eventually};
use site::{Broker, Kind, Site};

use crate::cluster::{COVER, Lamp, part_is};

/// Runs each on both brokers; on EMQX where one is asked for.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod mosquitto {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(&Site::start(Kind::Mosquitto).await).await;
            })*
        }
        mod emqx {
            use super::*;
            $(#[tokio::test]
            #[ignore = "needs an EMQX: make emqx-check"]
            async fn $name() {
                super::$name(&Site::start(Kind::Emqx).await).await;
            })*

            #[tokio::test]
            #[ignore = "needs an EMQX: make emqx-check"]
            async fn it_starts_without_a_complaint_and_its_api_wants_our_key() {
                super::it_starts_without_a_complaint_and_its_api_wants_our_key().await;
            }

            #[tokio::test]
            #[ignore = "needs an EMQX: make emqx-check"]
            async fn its_word_on_sessions_is_believed_at_once() {
                super::its_word_on_sessions_is_believed_at_once().await;
            }
        }
    };
}

on_both! {
    check_finds_nothing_wrong
    a_device_signs_in_by_its_own_password_alone
    two_nodes_command_and_hear_strips
    new_credentials_and_deletion_end_sessions
    a_node_that_dies_is_covered
    the_broker_restarts
}

async fn check_finds_nothing_wrong(site: &Site) {
    let listener = format!(
        "_check:{}",
        site.broker.etc().join("secrets/check").display()
    );
    let nodes = site.nodes(1).await;
    let args = ["check", "--check-account", &listener, "--json"];
    let (code, out, err) = site.dormouse(&args).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let warned: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["verdict"] == "warn")
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    // What Mosquitto cannot do.
    let tolerated: &[&str] = match site.broker {
        Broker::Mosquitto(_) => &["nodes.retained"],
        Broker::Emqx(_) => &[],
    };
    assert_eq!(warned, tolerated, "{out}");
    for node in nodes {
        node.stop().await;
    }
}

async fn a_device_signs_in_by_its_own_password_alone(site: &Site) {
    let nodes = site.nodes(1).await;
    let password = nodes[0].add_device("lamp", 1).await;
    let strip = signed_in(&nodes[0], "lamp", &password, 1).await;
    drop(strip);
    for (name, password) in [
        ("lamp", "wrong"),
        ("lamp", ""),
        ("_dormouse", password.as_str()),
        ("nobody", password.as_str()),
    ] {
        let refused = Strip::refused_by(nodes[0].mqtt(), name, password).await;
        let refused = refused.expect("a stranger is not let in");
        assert!(refused.contains("Connection refused"), "{name}: {refused}");
    }
}

async fn two_nodes_command_and_hear_strips(site: &Site) {
    let nodes = site.nodes(2).await;
    let mut strips = Strips::start_paced(&nodes[0], 4).await;
    let password = nodes[0].add_device("lamp", 4).await;
    known(&nodes[0], "lamp", &password).await;
    let lamp = Lamp::connect(&nodes[0], "lamp", &password).await;
    let mut sent = Vec::new();
    for (node, socket) in nodes.iter().zip(1..) {
        eventually("the lamp is online", async || {
            let device = node.get("/api/v1/devices/lamp").await;
            (device["presence"]["state"] == "online").then_some(())
        })
        .await;
        sent.push(switched(node, socket).await);
    }
    let mut executed = lamp.executed();
    executed.sort_unstable();
    sent.sort_unstable();
    assert_eq!(executed, sent, "each command was executed once");
    strips.wait_for(200).await;
    strips.finish().await;
    strips.account(&nodes[1]).await;
    for node in nodes {
        node.stop().await;
    }
}

async fn new_credentials_and_deletion_end_sessions(site: &Site) {
    let nodes = site.nodes(2).await;
    let old = nodes[0].add_device("lamp", 1).await;
    let mut strip = signed_in(&nodes[0], "lamp", &old, 1).await;
    let made = nodes[1]
        .post("/api/v1/devices/lamp/credentials", json!({}))
        .await;
    let new = made["credentials"]["password"].as_str().unwrap().to_owned();
    let began = Instant::now();
    strip.until_refused().await;
    assert!(began.elapsed() < COVER, "{:?}", began.elapsed());
    until_out(&nodes[0], "lamp", &old).await;
    let mut strip = signed_in(&nodes[0], "lamp", &new, 2).await;

    let (status, answer) = nodes[0]
        .request(Method::DELETE, "/api/v1/devices/lamp", None)
        .await;
    assert!(status.is_success(), "{answer}");
    let began = Instant::now();
    strip.until_refused().await;
    assert!(began.elapsed() < COVER, "{:?}", began.elapsed());
    until_out(&nodes[1], "lamp", &new).await;
    // Added again it comes in with what it is given then.
    let again = nodes[1].add_device("lamp", 1).await;
    drop(signed_in(&nodes[1], "lamp", &again, 3).await);
}

async fn a_node_that_dies_is_covered(site: &Site) {
    let mut nodes = site.nodes(2).await;
    let mut strips = Strips::start_paced(&nodes[0], 6).await;
    strips.wait_for(300).await;
    nodes.remove(0).kill().await;
    let died = Instant::now();
    strips.wait_for(300).await;
    eventually("no share without a node", async || {
        let found = nodes[0].get("/api/v1/nodes").await;
        let leases = found["items"].as_array()?.iter();
        let shares: usize = leases
            .filter_map(|it| it["leases"].as_array())
            .flatten()
            .filter(|it| it.as_str().is_some_and(|it| it.starts_with("slot/")))
            .count();
        (found["items"].as_array()?.len() == 1 && shares == 1).then_some(())
    })
    .await;
    assert!(died.elapsed() < COVER, "{:?}", died.elapsed());
    strips.finish().await;
    strips.account(&nodes[0]).await;
}

/// Neither broker keeps a shared subscription over its restart: strips are
/// quiet meanwhile, and everything they said before has been taken.
async fn the_broker_restarts(site: &Site) {
    let nodes = site.nodes(2).await;
    let mut strips = Strips::start_paced(&nodes[0], 4).await;
    strips.wait_for(200).await;
    strips.lose_server();
    strips.wait_for_standstill().await;
    strips.account_for(&nodes[0], &strips.told()).await;
    site.broker.stop();
    for node in &nodes {
        part_is(node, "mqtt", "down").await;
    }
    site.broker.run();
    for node in &nodes {
        part_is(node, "mqtt", "ok").await;
    }
    strips.find_server(&nodes[0]);
    strips.wait_for(200).await;
    strips.finish().await;
    strips.account(&nodes[1]).await;
    for node in nodes {
        node.stop().await;
    }
}

async fn it_starts_without_a_complaint_and_its_api_wants_our_key() {
    let site = Site::start(Kind::Emqx).await;
    let Broker::Emqx(emqx) = &site.broker else {
        return;
    };
    let log = emqx.log().to_lowercase();
    let complaints: Vec<&str> = log
        .lines()
        .filter(|line| {
            ["unknown", "deprecated", "mismatch", "schema"]
                .iter()
                .any(|it| line.contains(it))
        })
        .collect();
    assert_eq!(complaints, Vec::<&str>::new(), "{log}");
    let client = crate::support::http_client();
    let secret = std::fs::read_to_string(emqx.etc().join("secrets/api")).unwrap();
    let url = format!(
        "http://127.0.0.1:{}/api/v5/clients?limit=1&page=1",
        emqx.api_port()
    );
    for (secret, status) in [(secret.trim(), 200), ("wrong", 401)] {
        let answer = client.get(&url).basic_auth("dormouse", Some(secret)).send();
        assert_eq!(answer.await.unwrap().status().as_u16(), status);
    }
    let metrics = format!(
        "http://127.0.0.1:{}/api/v5/prometheus/stats",
        emqx.api_port()
    );
    let answer = client.get(&metrics).send().await.unwrap();
    assert_eq!(
        answer.status().as_u16(),
        401,
        "metrics are for those who may"
    );
    let node = site
        .node(site.broker.etc().parent().unwrap().join("node").as_path())
        .await;
    part_is(&node, "emqx", "ok").await;
    node.stop().await;
}

/// Without a will, and long before its silence would say anything.
async fn its_word_on_sessions_is_believed_at_once() {
    let site = Site::start(Kind::Emqx).await;
    let nodes = site.nodes(2).await;
    let password = nodes[0].add_device("lamp", 1).await;
    known(&nodes[0], "lamp", &password).await;
    let mut strip = Strip::connect(&nodes[0], "lamp", &password, 1).await;
    strip
        .publish(
            "status",
            &json!({"online": true, "boot": 1, "conn": 1, "seq": 2, "periodS": 300}),
        )
        .await;
    for (state, cut) in [("online", false), ("offline", true)] {
        if cut {
            strip.client.disconnect().await.unwrap();
            strip.until_refused().await;
        }
        let began = Instant::now();
        for node in &nodes {
            eventually(&format!("it is {state}"), async || {
                let device = node.get("/api/v1/devices/lamp").await;
                (device["presence"]["state"] == state).then_some(())
            })
            .await;
        }
        assert!(began.elapsed() < COVER, "{:?}", began.elapsed());
    }
    for node in nodes {
        node.stop().await;
    }
}

/// A strip that signed in: a broker that reads files hears of it within a
/// second.
async fn signed_in(node: &Server, id: &str, password: &str, conn: u32) -> Strip {
    known(node, id, password).await;
    Strip::online(node, id, password, conn).await
}

/// Waits until the broker lets `id` in.
async fn known(node: &Server, id: &str, password: &str) {
    eventually("the broker knows the device", async || {
        let refused = Strip::refused_by(node.mqtt(), id, password).await;
        refused.is_none().then_some(())
    })
    .await;
}

/// Waits until the broker lets `id` in no more.
async fn until_out(node: &Server, id: &str, password: &str) {
    eventually("the broker keeps it out", async || {
        let refused = Strip::refused_by(node.mqtt(), id, password).await;
        refused.map(drop)
    })
    .await;
}

/// Switches a socket and waits for its success; the command's id.
async fn switched(node: &Server, socket: u8) -> String {
    let path = format!("/api/v1/devices/lamp/sockets/{socket}/commands");
    let command = node.post(&path, json!({"action": "on"})).await;
    let id = command["cmdId"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/commands/{id}");
    let found = eventually("a verdict", async || {
        let found = node.get(&path).await;
        (found["state"] != "pending").then_some(found)
    })
    .await;
    assert_eq!(found["state"], "success", "{found}");
    id
}
