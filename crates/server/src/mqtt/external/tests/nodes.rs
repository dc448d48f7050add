//! Several nodes on one broker, and nodes that die.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dormouse_core::services::registry::JoinMode;

use super::support::*;
use crate::mqtt::external::{LinkSettings, LinkState, Versions};

const ONLINE: &str = r#"{"online":true,"sockets":[]}"#;

/// Devices that every node knows, before it starts.
async fn known(site: &Site, ids: &[String]) {
    let ids: Vec<_> = ids
        .iter()
        .map(|id| dormouse_core::ids::DeviceId::parse(id).unwrap())
        .collect();
    let registry = site.registry().await;
    registry.discover(&ids, JoinMode::Open).await.unwrap();
}

fn strips(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("strip{n}")).collect()
}

/// A hundred messages from each of `strips`.
fn a_hundred_each(strips: &[String], from: u32) -> Vec<(String, String)> {
    let each = |strip| numbered(strip, from..from + 100);
    let mut all: Vec<_> = strips.iter().flat_map(|it| each(it)).collect();
    for (n, (_, body)) in all.iter_mut().enumerate() {
        *body = format!("{{\"powerW\":{n},\"seq\":{from}}}");
    }
    all
}

fn seen(stores: &[&Store]) -> BTreeSet<String> {
    stores.iter().flat_map(|it| it.payloads()).collect()
}

#[tokio::test]
async fn two_nodes_share_what_comes_and_each_message_comes_once() {
    let broker = broker();
    let (site, strips) = (Site::default(), strips(10));
    known(&site, &strips).await;
    let (a, b) = (site.node("a", &broker).await, site.node("b", &broker).await);
    assert_eq!(site.leases.holder("slot/0").unwrap().0.as_ref(), "a");
    assert_eq!(site.leases.holder("slot/1").unwrap().0.as_ref(), "b");
    let mut client = Device::connect(broker.port(), "strips").await;
    let messages = a_hundred_each(&strips, 0);
    client.says_all(&messages).await;
    let counts = || (a.store.payloads().len(), b.store.payloads().len());
    eventually("all arrived", || counts().0 + counts().1 == 1_000).await;
    assert!(counts().0 > 100 && counts().1 > 100, "{:?}", counts());
    assert_eq!(seen(&[&a.store, &b.store]), bodies(&messages));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_dead_nodes_share_is_adopted_within_ten_seconds_and_nothing_is_lost() {
    let broker = broker();
    for versions in [Versions::V5, Versions::V311] {
        let (site, strips) = (Site::default(), strips(10));
        known(&site, &strips).await;
        let start = |name| site.start(name, settings(broker.port(), versions), JoinMode::Open);
        let (a, b) = (start("a").await.unwrap(), start("b").await.unwrap());
        let mut client = Device::connect(broker.port(), "strips").await;
        // What it was sent and did not keep belongs to its session, too.
        b.store.set(Keep::Nothing);
        let first = a_hundred_each(&strips, 0);
        client.says_all(&first).await;
        eventually("both got some", || b.store.held() > 100).await;
        b.kill().await;
        let died = Instant::now();
        let second = a_hundred_each(&strips, 1_000);
        client.says_all(&second).await;
        let mut all = bodies(&first);
        all.extend(bodies(&second));
        eventually("the survivor has all", || seen(&[&a.store]) == all).await;
        eventually("the slot is gone", || {
            !site.leases.names().contains(&"slot/1".to_owned())
        })
        .await;
        let took = died.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(a.link.stats().adopted, 1);
        // The dead session gets no share any more.
        let third = a_hundred_each(&strips, 2_000);
        client.says_all(&third).await;
        all.extend(bodies(&third));
        eventually("all of the rest", || seen(&[&a.store]) == all).await;
        a.stop().await;
    }
}

#[tokio::test]
async fn a_clean_stop_keeps_the_session_for_the_next_start() {
    let broker = broker();
    for versions in [Versions::V5, Versions::V311] {
        let (site, strips) = (Site::default(), strips(1));
        known(&site, &strips).await;
        let start = |name| site.start(name, settings(broker.port(), versions), JoinMode::Open);
        start("a").await.unwrap().stop().await;
        assert_eq!(site.leases.holder("slot/0"), None);
        let mut client = Device::connect(broker.port(), "strips").await;
        let messages = numbered("strip0", 0..1_500);
        client.says_all(&messages).await;
        let next = start("b").await.unwrap();
        eventually("all came", || next.store.payloads().len() == 1_500).await;
        assert_eq!(seen(&[&next.store]), bodies(&messages));
        next.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_lost_its_lease_acknowledges_nothing_and_takes_another_slot() {
    let broker = broker();
    let (site, strips) = (Site::default(), strips(1));
    known(&site, &strips).await;
    let node = site.node("a", &broker).await;
    let mut client = Device::connect(broker.port(), "strips").await;
    node.store.set(Keep::Nothing);
    client.says_all(&numbered("strip0", 0..10)).await;
    eventually("they are here", || node.store.held() == 10).await;
    site.leases.steal("slot/0", "b");
    eventually("it takes another", || {
        site.leases
            .holder("slot/1")
            .is_some_and(|it| it.0.as_ref() == "a")
    })
    .await;
    eventually("it is up again", || {
        matches!(node.link.state(), LinkState::Up { .. })
    })
    .await;
    // Of that connection nothing is acknowledged any more.
    node.store.keep_held();
    node.store.set(Keep::All);
    assert_eq!(node.store.payloads().len(), 10);
    // The thief dies, too, and its slot is adopted with all it was sent.
    site.leases.release_all("slot/0");
    eventually("they came again", || node.store.payloads().len() == 20).await;
    node.stop().await;
}

#[tokio::test]
async fn while_leases_cannot_be_renewed_a_node_goes_on_and_does_not_connect_again() {
    let broker = broker();
    let (site, strips) = (Site::default(), strips(1));
    known(&site, &strips).await;
    let plain = LinkSettings {
        share: None,
        ..settings(broker.port(), Versions::Auto)
    };
    let node = site.start("a", plain, JoinMode::Open).await.unwrap();
    site.leases.set_down(true);
    let ran_out = Instant::now() + Duration::from_secs(7);
    let mut client = Device::connect(broker.port(), "strips").await;
    let mut sent = 0;
    while Instant::now() < ran_out {
        client.says("dorm/strip0/telemetry", "{\"powerW\":1}").await;
        sent += 1;
        eventually("it arrives", || node.store.payloads().len() == sent).await;
        eventually("acknowledged", || node.link.stats().unacknowledged == 0).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.link.stats().losses, 0);
    broker.stop().unwrap();
    eventually("it is noticed", || {
        matches!(node.link.state(), LinkState::Down { .. })
    })
    .await;
    broker.resume().unwrap();
    let mut client = Device::connect(broker.port(), "strips").await;
    client.says("dorm/strip0/telemetry", "{\"powerW\":2}").await;
    assert!(matches!(node.link.state(), LinkState::Down { .. }));
    site.leases.set_down(false);
    eventually("it came", || node.store.payloads().len() == sent + 1).await;
    node.stop().await;
}

#[tokio::test]
async fn a_broker_restarted_under_load_loses_nothing_it_acknowledged() {
    let broker = broker();
    let (site, strips) = (Site::default(), strips(10));
    known(&site, &strips).await;
    let node = site.node("a", &broker).await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let mut client = Device::connect(broker.port(), "strips").await;
        node.store
            .set(if round == 1 { Keep::Nothing } else { Keep::All });
        let messages = a_hundred_each(&strips, round * 1_000);
        client.says_all(&messages).await;
        acknowledged.extend(bodies(&messages));
        broker.stop().unwrap();
        eventually("it is noticed", || {
            matches!(node.link.state(), LinkState::Down { .. })
        })
        .await;
        node.store.set(Keep::All);
        broker.resume().unwrap();
        eventually("it is back", || {
            matches!(node.link.state(), LinkState::Up { .. })
        })
        .await;
    }
    eventually("all of them", || seen(&[&node.store]) == acknowledged).await;
    let mut client = Device::connect(broker.port(), "strips").await;
    client.says("dorm/strip0/status", ONLINE).await;
    eventually("and the next", || {
        node.store.payloads().last().is_some_and(|it| it == ONLINE)
    })
    .await;
    assert!(node.link.stats().losses >= 3);
    node.stop().await;
}

#[tokio::test]
async fn a_plain_subscription_has_one_node_and_outlives_the_brokers_restart() {
    let broker = broker();
    let (site, strips) = (Site::default(), strips(1));
    known(&site, &strips).await;
    // A session that was shared before brings nothing twice.
    site.node("a", &broker).await.stop().await;
    let plain = || LinkSettings {
        share: None,
        ..settings(broker.port(), Versions::Auto)
    };
    let node = site.start("b", plain(), JoinMode::Open).await.unwrap();
    let second = site.start("c", plain(), JoinMode::Open).await;
    let error = second.err().unwrap().to_string();
    assert!(error.starts_with("broker.share: another node"), "{error}");
    node.stop().await;
    broker.stop().unwrap();
    broker.resume().unwrap();
    let mut client = Device::connect(broker.port(), "strips").await;
    let messages = numbered("strip0", 0..100);
    client.says_all(&messages).await;
    let node = site.start("b", plain(), JoinMode::Open).await.unwrap();
    eventually("all came", || node.store.payloads().len() >= 100).await;
    client.says("dorm/strip0/event", "{}").await;
    eventually("and the next", || node.store.payloads().len() > 100).await;
    assert_eq!(node.store.payloads().len(), 101);
    node.stop().await;
}
