//! Who does what is done once, and who takes over.

use super::*;

#[tokio::test]
async fn one_node_does_what_is_done_once_and_others_take_over() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    for _ in 0..3 {
        a.renew().await;
        b.renew().await;
        site.clock.advance(S);
    }
    a.nodes.serve_at("10.0.0.3:8080".to_owned());
    a.nodes.set_down(vec!["redis".to_owned()]);
    a.renew().await;
    let members = b.nodes.roll().await.unwrap().alive;
    let names: Vec<_> = members.iter().map(|it| it.node.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(members[0].leases, [PRESENCE, UPKEEP]);
    let about = &members[0].about;
    assert_eq!(about.version.as_deref(), Some("1.2.3"));
    assert_eq!(about.address.as_deref(), Some("10.0.0.3:8080"));
    assert_eq!(about.down, ["redis"]);
    assert!(members[1].about.since.is_some() && members[1].leases.is_empty());

    let batch = Batch {
        id: BatchId(uuid_v7(site.clock.now())),
        order: Order::new(Action::On, None, None).unwrap(),
        on_pending: OnPending::Refuse,
        send_offline: true,
        origin: Origin::Server,
        node: NodeId("a".into()),
        created_at: site.clock.now(),
        targets: vec![crate::command::Target {
            device: DeviceKey(1),
            device_id: id("one"),
            socket: SocketId::STRIP,
        }],
    };
    let write = CommandWrite::CreateBatch {
        batch: Arc::new(batch),
        key: None,
    };
    site.commands.commit(vec![write]).await.unwrap();
    let waiting = async || {
        site.commands
            .nodes_with_waiting_items()
            .await
            .unwrap()
            .len()
    };
    b.renew().await;
    assert_eq!(waiting().await, 1, "its node is alive");

    // The first one is killed.
    for _ in 0..8 {
        site.clock.advance(S);
        b.renew().await;
    }
    assert!(b.nodes.upkeep().held().is_some() && b.nodes.parts.presence.leads());
    assert_eq!(waiting().await, 0);
    assert_eq!(b.nodes.roll().await.unwrap().alive.len(), 1);
}

#[tokio::test]
async fn a_node_that_died_is_remembered_until_it_is_back_or_for_a_day() {
    let site = Site::new();
    let (killed, b) = (site.join("a-one").await, site.join("b-one").await);
    killed.renew().await;
    let pass = async |seconds: u64| {
        site.clock.advance(S * u32::try_from(seconds).unwrap());
        b.renew().await;
    };
    let lost = async || {
        let lost = b.nodes.roll().await.unwrap().lost;
        let told = lost
            .into_iter()
            .map(|it| (it.node.to_string(), it.seen_ago.as_secs()));
        told.collect::<Vec<_>>()
    };
    let rows = async || site.leases.list(NODE_PREFIX).await.unwrap().len();
    pass(5).await;
    assert_eq!(lost().await, []);
    pass(55).await;
    assert_eq!(lost().await, [("a-one".to_owned(), 60)]);

    // It comes back and dies again: its last death counts.
    let again = site.join("a-two").await;
    again.renew().await;
    pass(1).await;
    assert_eq!((lost().await, rows().await), (vec![], 2));
    pass(9).await;
    assert_eq!(lost().await, [("a-two".to_owned(), 10)]);

    pass(86_400).await;
    assert_eq!((lost().await, rows().await), (vec![], 1));
}

#[tokio::test]
async fn a_node_that_hears_no_broker_leaves_the_lead_to_others() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    a.renew().await;
    a.nodes.parts.presence.link_lost();
    for _ in 0..10 {
        site.clock.advance(S);
        a.renew().await;
        b.renew().await;
    }
    assert!(!a.nodes.parts.presence.leads() && b.nodes.parts.presence.leads());
    assert!(
        a.nodes.upkeep().held().is_some(),
        "the rest needs no broker"
    );
}

#[tokio::test]
async fn who_looks_around_knows_how_far_the_clocks_are_apart() {
    let site = Site::new();
    let node = site.join("a").await;
    node.nodes.look_around().await.unwrap();
    assert_eq!(node.nodes.clock_ahead_ms(), 0);
    assert!(node.exchange.connected());
}
