//! What one node does, the others hear of.

use super::*;

#[tokio::test]
async fn watchers_of_every_node_hear_what_any_node_measures() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    add(&a, "one", "A/1").await;
    add(&a, "two", "B/1").await;
    b.nodes.parts.registry.refresh().await.unwrap();
    a.measure("one", 1);
    assert_eq!(a.live().own_watchers(), 0);
    assert!(!a.live().wants(&one()), "nobody watches: no readings");
    assert!(a.live().wants_commands(&one()), "what is rare always is");

    let there = b.watch(&["location:A"]);
    b.nodes.tell_watching();
    a.listen().await;
    let here = a.watch(&["fleet"]);
    a.nodes.tell_watching();
    b.listen().await;
    a.measure("one", 2);
    a.measure("one", 3);
    a.measure("two", 4);
    a.nodes.relay();
    b.listen().await;
    let told = taken(&there);
    assert_eq!(told.len(), 1, "the newest of its place: {told:?}");
    assert!(told[0].contains("\"powerW\":0.3"), "{told:?}");
    assert_eq!(taken(&here).len(), 2);

    // What came from another node goes no further, and not back.
    b.nodes.relay();
    a.listen().await;
    assert_eq!(taken(&here), [] as [String; 0]);

    drop(there);
    b.nodes.tell_watching();
    a.listen().await;
    drop(here);
    assert!(!a.live().wants(&one()));
}

#[tokio::test]
async fn a_silent_nodes_watchers_are_forgotten() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    let watcher = b.watch(&["fleet"]);
    for _ in 0..5 {
        b.nodes.tell_watching();
        a.listen().await;
        a.nodes.tell_watching();
        assert!(a.live().wants(&one()));
        site.clock.advance(2 * S);
    }
    drop(watcher);
    site.clock.advance(6 * S);
    a.nodes.tell_watching();
    assert!(!a.live().wants(&one()));
}

#[tokio::test]
async fn after_a_gap_watchers_get_a_new_snapshot() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    let watcher = a.watch(&["fleet"]);
    let idle = a.live().watch().unwrap();
    site.hub.set_reachable(false);
    site.hub.set_reachable(true);
    a.listen().await;
    assert_eq!(watcher.next(10).await, Drained::Gap);
    assert_eq!(idle.take(10), Some(vec![]));
    drop(b);
}

#[tokio::test]
async fn devices_and_their_reports_are_known_everywhere() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    let key = add(&a, "one", "A/1").await;
    a.nodes.tell_devices();
    b.listen().await;
    tokio::select! {
        biased;
        () = b.nodes.devices_changed() => {}
        () = std::future::ready(()) => panic!("it was told"),
    }
    b.nodes.parts.registry.refresh().await.unwrap();

    let report = |seq: u32, firmware: &str| Reported {
        boot: Some(1),
        seq: Some(seq),
        firmware: Some(firmware.to_owned()),
        at: Timestamp::from_millis(i64::from(seq)),
        ..Reported::default()
    };
    let watcher = b.watch(&["fleet"]);
    for (seq, firmware) in [(3, "3"), (2, "2")] {
        let updated = a
            .nodes
            .parts
            .registry
            .update_report(key, |_| Some(report(seq, firmware)));
        a.nodes.reported(&updated.unwrap().1);
        a.nodes.tell_reports();
    }
    b.listen().await;
    let firmware = |node: &Node| {
        let device = node.nodes.parts.registry.by_key(key).unwrap();
        device.reported.as_ref().unwrap().firmware.clone().unwrap()
    };
    assert_eq!(firmware(&b), "3", "the newer one counts");
    assert_eq!(taken(&watcher).len(), 1);

    // A hint that was lost is made good by the store.
    let last = |_: &Device| Some(report(9, "9"));
    a.nodes.parts.registry.update_report(key, last).unwrap();
    a.nodes.parts.registry.flush().await.unwrap();
    b.nodes.missed(false).await;
    assert_eq!(firmware(&b), "9");
}

#[test]
fn hints_of_newer_nodes_are_passed_over() {
    assert_eq!(Hint::decode(br#"{"kind":"tomorrow","x":1}"#), None);
    let more = br#"{"kind":"devices","since":7}"#;
    assert_eq!(Hint::decode(more), Some(Hint::Devices));
}
fn one() -> DeviceId {
    DeviceId::parse("one").unwrap()
}
