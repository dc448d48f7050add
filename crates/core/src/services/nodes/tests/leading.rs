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
    let members = b.nodes.members().await.unwrap();
    let names: Vec<_> = members.iter().map(|it| it.node.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(members[0].leases, [PRESENCE, UPKEEP]);
    assert_eq!(members[0].version.as_deref(), Some("1.2.3"));
    assert!(members[1].since.is_some() && members[1].leases.is_empty());

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
    assert_eq!(b.nodes.members().await.unwrap().len(), 1);
    assert_eq!(site.leases.list(NODE_PREFIX).await.unwrap().len(), 1);
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
