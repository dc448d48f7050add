//! Messages on their way out.

use std::time::Duration;

use dormouse_core::ids::{CommandId, DeviceId, DeviceKey, SocketId};
use dormouse_core::ports::{CommandSink, OutboundCommand};
use dormouse_core::services::registry::JoinMode;
use dormouse_core::wire::{Action, CommandBody};
use dormouse_testbed::mosquitto::{Mosquitto, Options};

use super::support::*;
use crate::mqtt::external::{LinkState, Versions};

fn command(ttl: Duration) -> OutboundCommand {
    OutboundCommand {
        device: DeviceKey(1),
        body: CommandBody {
            cmd_id: CommandId(uuid::Uuid::nil()),
            device_id: DeviceId::parse("strip1").unwrap(),
            socket_id: SocketId::STRIP,
            action: Action::On,
            off_ms: None,
            ttl_ms: 6_000,
            expires_at: 0,
        },
        ttl,
        timeout: ttl,
    }
}

const TTL: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_command_arrives_once_never_retained_in_both_versions() {
    let broker = broker();
    for versions in [Versions::V5, Versions::V311] {
        let settings = settings(broker.port(), versions);
        let site = Site::default();
        let node = site.start("a", settings, JoinMode::Open).await.unwrap();
        let mut strip = Device::connect(broker.port(), "strip").await;
        strip.subscribe("dorm/strip1/cmd").await;
        node.link.publish(&command(TTL)).unwrap();
        let (topic, body, retained) = strip.hears().await;
        assert_eq!(topic, "dorm/strip1/cmd");
        assert!(body.contains("\"action\":\"on\"") && !retained, "{body}");
        eventually("the broker has it", || {
            let stats = node.link.stats();
            stats.sent == 1 && stats.in_flight == 0
        })
        .await;
        node.stop().await;
    }
}

#[tokio::test]
async fn a_command_expires_at_the_broker() {
    let broker = broker();
    let node = Site::default().node("a", &broker).await;
    let persistent = || {
        let mut options = rumqttc::MqttOptions::new("sleeper", "127.0.0.1", broker.port());
        options.set_clean_session(false);
        options
    };
    let mut strip = Device::with(persistent()).await;
    strip.subscribe("dorm/strip1/cmd").await;
    strip.leaves().await;
    node.link.publish(&command(Duration::from_secs(1))).unwrap();
    node.link
        .publish(&command(Duration::from_secs(600)))
        .unwrap();
    eventually("the broker has both", || {
        let stats = node.link.stats();
        stats.sent == 2 && stats.in_flight == 0
    })
    .await;
    // Its expiry is the broker's to count, in whole seconds of its clock.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut strip = Device::with(persistent()).await;
    strip.hears().await;
    node.link.publish(&command(TTL)).unwrap();
    strip.hears().await;
    assert_eq!(strip.heard, 2, "the expired one never came");
    node.stop().await;
}

#[tokio::test]
async fn without_a_connection_nothing_is_taken() {
    let broker = broker();
    let node = Site::default().node("a", &broker).await;
    broker.kill().unwrap();
    eventually("it is noticed", || {
        matches!(node.link.state(), LinkState::Down { .. })
    })
    .await;
    let refused = node.link.publish(&command(TTL)).unwrap_err();
    assert!(refused.to_string().contains("broker"), "{refused}");
    assert_eq!(node.link.stats().sent, 0);
    node.stop().await;
}

#[tokio::test]
async fn commands_go_out_while_nothing_can_be_taken_in() {
    let broker = broker();
    let node = Site::default().node("a", &broker).await;
    let mut strip = Device::connect(broker.port(), "strip").await;
    strip.subscribe("dorm/strip1/cmd").await;
    strip
        .says("dorm/strip1/status", "{\"online\":true,\"sockets\":[]}")
        .await;
    node.knows("strip1").await;
    node.store.close(true);
    strip.says_all(&numbered("strip1", 0..1_000)).await;
    for _ in 0..20 {
        node.link.publish(&command(TTL)).unwrap();
        strip.hears().await;
    }
    assert!(
        node.store.payloads().len() < 1_001,
        "most is left at the broker"
    );
    node.store.close(false);
    eventually("the rest", || node.store.payloads().len() == 1_001).await;
    node.stop().await;
}

#[tokio::test]
async fn a_refused_command_is_counted() {
    let broker = Mosquitto::start(&Options {
        acl: Some("topic read dorm/#\n".to_owned()),
        ..Options::default()
    })
    .unwrap();
    let node = Site::default().node("a", &broker).await;
    node.link.publish(&command(TTL)).unwrap();
    eventually("counted", || node.link.stats().refused == 1).await;
    assert_eq!(node.link.stats().in_flight, 0);
    node.stop().await;
}
