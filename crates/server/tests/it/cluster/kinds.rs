//! The same on engines of another kind.

use dormouse_testbed::mosquitto::Mosquitto;
use dormouse_testbed::postgres::Postgres;
use dormouse_testbed::redis::RedisCluster;
use serde_json::json;

use super::lamp::Lamp;
use super::online;
use crate::strips::Strips;
use crate::support::{Server, eventually};

#[tokio::test]
async fn two_nodes_work_on_a_redis_cluster_and_with_mqtt_3() {
    let starting = tokio::task::spawn_blocking(|| {
        let mosquitto = Mosquitto::start(&Default::default()).unwrap();
        let database = Postgres::shared().database().unwrap();
        (mosquitto, RedisCluster::start().unwrap(), database)
    });
    let (mosquitto, redis, database) = starting.await.unwrap();
    let (broker, hot) = (
        format!("mqtt://127.0.0.1:{}", mosquitto.port()),
        redis.url(),
    );
    let settings = [
        ("DORMOUSE__BROKER__URL", broker.as_str()),
        ("DORMOUSE__BROKER__VERSION", "3.1.1"),
        ("DORMOUSE__HOT__URL", &hot),
        ("DORMOUSE__DATABASE__URL", &database.url),
    ];
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = &folders;
    let nodes = [
        Server::start_with(a.path(), &settings).await,
        Server::start_with(b.path(), &settings).await,
    ];

    let mut strips = Strips::start_paced(&nodes[0], 4).await;
    let password = nodes[1].add_device("lamp", 4).await;
    let lamp = Lamp::connect(&nodes[0], "lamp", &password).await;
    for (socket, node) in (1..).zip(&nodes) {
        eventually("all strips online", || online(node, 5)).await;
        let path = format!("/api/v1/devices/lamp/sockets/{socket}/commands");
        let sent = node.post(&path, json!({"action": "on"})).await;
        let path = format!("/api/v1/commands/{}", sent["cmdId"].as_str().unwrap());
        for node in &nodes {
            eventually("the verdict on every node", async || {
                let found = node.get(&path).await;
                (found["state"] == "success").then_some(())
            })
            .await;
        }
    }
    assert_eq!(lamp.executed().len(), 2);
    strips.wait_for(200).await;
    strips.finish().await;
    for node in &nodes {
        strips.account(node).await;
    }
    for node in nodes {
        node.stop().await;
    }
}
