//! Retained status, wills, and the broker's word on clients.

use dormouse_core::ids::DeviceId;
use dormouse_core::presence::SessionEnd;
use dormouse_core::services::registry::JoinMode;
use dormouse_core::topic::Channel;
use rumqttc::{LastWill, MqttOptions, QoS};

use super::script::{Script, play};
use super::support::*;
use crate::mqtt::external::Versions;

const ONLINE: &str = r#"{"online":true,"boot":1,"conn":1,"seq":1,"sockets":[]}"#;

#[tokio::test]
async fn retained_status_is_replayed_as_such_and_passed_on_status_comes_once() {
    let broker = broker();
    let mut strip = Device::connect(broker.port(), "strip").await;
    strip.publish("dorm/strip1/status", ONLINE, true).await;
    for versions in [Versions::V5, Versions::V311] {
        let site = Site::default();
        let settings = settings(broker.port(), versions);
        let node = site.start("a", settings, JoinMode::Open).await.unwrap();
        node.knows("strip1").await;
        eventually("the replay", || !node.store.payloads().is_empty()).await;
        let replay = node.store.got.lock().unwrap()[0].clone();
        assert!(replay.retained && !replay.will, "{replay:?}");
        strip.publish("dorm/strip1/status", ONLINE, true).await;
        strip.says("dorm/strip1/event", "{}").await;
        let live = || {
            let got = node.store.got.lock().unwrap().clone();
            got.into_iter()
                .filter(|it| !it.retained)
                .collect::<Vec<_>>()
        };
        eventually("live ones", || live().len() >= 2).await;
        let channels: Vec<_> = live().iter().map(|it| it.channel).collect();
        let expected = [Channel::Status, Channel::Event];
        assert_eq!(channels, expected, "{versions:?}");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_will_is_told_from_a_report() {
    let broker = broker();
    let node = Site::default().node("a", &broker).await;
    let mut options = MqttOptions::new("strip1", "127.0.0.1", broker.port());
    let will = r#"{"online":false,"boot":1,"conn":1}"#;
    let topic = "dorm/strip1/status";
    options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, false));
    let mut strip = Device::with(options).await;
    strip.says(topic, ONLINE).await;
    node.knows("strip1").await;
    // Its connection breaks without a goodbye.
    drop(strip);
    eventually("the will", || node.store.payloads().len() == 2).await;
    let got = node.store.got.lock().unwrap().clone();
    assert!(!got[0].will && got[1].will, "{got:?}");
    node.stop().await;
}

#[tokio::test]
async fn sessions_are_told_where_the_broker_tells_of_clients() {
    let topic = |what: &str| format!("$SYS/brokers/emqx@127.0.0.1/clients/c-1/{what}");
    let began = r#"{"username":"strip1","clientid":"c-1","connected_at":1700000000123}"#;
    let other = r#"{"username":"nobody","clientid":"c-1","connected_at":1700000000124}"#;
    let ended = r#"{"username":"strip1","clientid":"c-1","reason":"normal","disconnected_at":1700000009000}"#;
    let script = Script {
        says: vec![
            (topic("connected"), began.to_owned()),
            (topic("connected"), other.to_owned()),
            (topic("disconnected"), ended.to_owned()),
        ],
        ..Script::default()
    };
    let site = Site::default();
    let registry = site.registry().await;
    let id = DeviceId::parse("strip1").unwrap();
    registry.discover(&[id], JoinMode::Open).await.unwrap();
    let settings = settings(play(script).await, Versions::V5);
    let node = site.start("a", settings, JoinMode::Open).await.unwrap();
    let told = || node.sessions.0.lock().unwrap().clone();
    eventually("both were told", || told().len() == 2).await;
    let (first, last) = (told()[0], told()[1]);
    assert_eq!((first.1, first.2), (1_700_000_000_123, None));
    assert_eq!((last.1, last.2), (first.1, Some(SessionEnd::Disconnected)));
    node.stop().await;
}
