//! Messages on their way in.

use dormouse_core::services::registry::JoinMode;
use dormouse_core::topic::Channel;
use dormouse_testbed::mosquitto::{Mosquitto, Options, Tls};

use super::support::*;
use crate::mqtt::external::{LinkState, Versions};

const ONLINE: &str = r#"{"online":true,"boot":1,"conn":1,"seq":1,"sockets":[]}"#;

#[tokio::test]
async fn messages_arrive_in_order_and_are_acknowledged_in_both_versions() {
    let broker = broker();
    for versions in [Versions::V5, Versions::V311] {
        let site = Site::default();
        let settings = settings(broker.port(), versions);
        let node = site.start("a", settings, JoinMode::Open).await.unwrap();
        let mut strip = Device::connect(broker.port(), "strip").await;
        strip.says("dorm/strip1/status", ONLINE).await;
        node.knows("strip1").await;
        let messages = numbered("strip1", 0..2_000);
        strip.says_all(&messages).await;
        eventually("all arrived", || node.store.payloads().len() == 2_001).await;
        let expected: Vec<_> = messages.iter().map(|it| it.1.clone()).collect();
        assert_eq!(node.store.payloads()[1..], expected);
        eventually("all acknowledged", || {
            let stats = node.link.stats();
            stats.unacknowledged == 0 && stats.received == 2_001
        })
        .await;
        assert!(matches!(node.link.state(), LinkState::Up { .. }));
        let store = node.stop().await;
        assert_eq!(store.payloads().len(), 2_001, "{versions:?}");

        // Everything was acknowledged: nothing comes again.
        let again = site.node("b", &broker).await;
        strip.says("dorm/strip1/telemetry", "{\"powerW\":7}").await;
        eventually("the next one", || !again.store.payloads().is_empty()).await;
        assert_eq!(again.store.payloads(), ["{\"powerW\":7}"]);
        again.stop().await;
    }
}

#[tokio::test]
async fn what_was_not_kept_comes_again_after_a_crash() {
    let broker = broker();
    for versions in [Versions::V5, Versions::V311] {
        let site = Site::default();
        let start = |name| site.start(name, settings(broker.port(), versions), JoinMode::Open);
        let node = start("a").await.unwrap();
        let mut strip = Device::connect(broker.port(), "strip").await;
        strip.says("dorm/strip1/status", ONLINE).await;
        node.knows("strip1").await;
        node.store.set(Keep::Nothing);
        let messages = numbered("strip1", 0..20);
        strip.says_all(&messages).await;
        eventually("all are here", || node.store.held() == 20).await;
        let crashed = node.kill().await;
        // Resolving them now acknowledges nothing: that connection is gone.
        crashed.keep_held();

        site.leases.set_down(false);
        let heir = start("a").await.unwrap();
        eventually("all came again", || heir.store.payloads().len() == 20).await;
        let expected: Vec<_> = messages.iter().map(|it| it.1.clone()).collect();
        assert_eq!(heir.store.payloads(), expected, "{versions:?}");
        heir.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_asked_for_again_until_it_can() {
    let broker = broker();
    let node = Site::default().node("a", &broker).await;
    let mut strip = Device::connect(broker.port(), "strip").await;
    strip.says("dorm/strip1/status", ONLINE).await;
    node.knows("strip1").await;
    node.store.set(Keep::Fail);
    let messages = numbered("strip1", 0..50);
    strip.says_all(&messages).await;
    eventually(
        "it says so",
        || matches!(node.link.state(), LinkState::Down { reason, .. } if reason.contains("stored")),
    )
    .await;
    node.store.set(Keep::All);
    eventually("all were kept", || node.store.payloads().len() >= 51).await;
    let expected: Vec<_> = messages.iter().map(|it| it.1.clone()).collect();
    assert_eq!(node.store.payloads()[1..], expected);
    node.stop().await;
}

#[tokio::test]
async fn receipts_resolved_in_any_order_acknowledge_all() {
    let broker = broker();
    let site = Site::default();
    let node = site.node("a", &broker).await;
    let mut strip = Device::connect(broker.port(), "strip").await;
    strip.says("dorm/strip1/status", ONLINE).await;
    node.knows("strip1").await;
    node.store.set(Keep::Nothing);
    strip.says_all(&numbered("strip1", 0..300)).await;
    eventually("all are here", || node.store.held() == 300).await;
    node.store.keep_held();
    eventually("all acknowledged", || node.link.stats().unacknowledged == 0).await;
    node.store.set(Keep::All);
    strip.says("dorm/strip1/event", "{}").await;
    eventually("the next one", || node.store.payloads().len() == 302).await;
    let last = node.store.got.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.channel, Channel::Event);
    node.stop().await;
}

#[tokio::test]
async fn tls_with_a_client_certificate_and_the_brokers_authority() {
    let broker = Mosquitto::start(&Options {
        tls: Tls::Mutual,
        ..Options::default()
    })
    .unwrap();
    let mut settings = settings(broker.port(), Versions::Auto);
    settings.url = format!("mqtts://localhost:{}", broker.tls_port());
    settings.ca_file = Some(broker.file("ca.pem"));
    settings.certificate_file = Some(broker.file("client.pem"));
    settings.key_file = Some(broker.file("client.key"));
    let site = Site::default();
    let node = site.start("a", settings, JoinMode::Open).await.unwrap();
    let mut strip = Device::connect(broker.port(), "strip").await;
    strip.says("dorm/strip1/status", ONLINE).await;
    node.knows("strip1").await;
    strip.says_all(&numbered("strip1", 0..1_000)).await;
    eventually("all arrived", || node.store.payloads().len() == 1_001).await;
    node.stop().await;
}

#[tokio::test]
async fn unknown_devices_come_in_by_their_status_alone_and_as_the_mode_has_it() {
    let broker = broker();
    for (mode, known, kept) in [
        (JoinMode::Open, true, 2),
        (JoinMode::Approve, true, 0),
        (JoinMode::Closed, false, 0),
    ] {
        let site = Site::default();
        let settings = settings(broker.port(), Versions::Auto);
        let node = site.start("a", settings, mode).await.unwrap();
        let mut strip = Device::connect(broker.port(), "strip").await;
        strip.says("dorm/strip1/telemetry", "{\"powerW\":1}").await;
        strip.says("dorm/bad id/status", ONLINE).await;
        eventually("refused", || node.link.stats().unknown == 2).await;
        strip.says("dorm/strip1/status", ONLINE).await;
        eventually("looked at", || {
            let id = dormouse_core::ids::DeviceId::parse("strip1").unwrap();
            node.registry.by_id(&id).is_some() == known
                && node.link.stats().unknown == if known { 2 } else { 3 }
        })
        .await;
        strip.says("dorm/strip1/telemetry", "{\"powerW\":2}").await;
        eventually("taken", || node.link.stats().received == 4).await;
        eventually("acknowledged", || node.link.stats().unacknowledged == 0).await;
        assert_eq!(node.store.payloads().len(), kept, "{mode:?}");
        node.stop().await;
    }
}
