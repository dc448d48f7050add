//! Devices found on an external broker.

use super::*;

#[tokio::test]
async fn what_nobody_knows_is_added_once_whichever_process_hears_it() {
    let stores = Stores::default();
    let (one, two) = (stores.node().await, stores.node().await);
    let ids = [id("A-302-strip01"), id("x1"), id("x1")];
    assert_eq!(
        one.registry.discover(&ids, JoinMode::Open).await.unwrap(),
        2
    );
    let more = [id("x1"), id("x2")];
    assert_eq!(
        two.registry.discover(&more, JoinMode::Open).await.unwrap(),
        1
    );
    let known = two.registry.by_id(&id("A-302-strip01")).unwrap();
    assert_eq!(known.state, DeviceState::Active);
    assert_eq!(known.settings.location, "A/3/302");
    assert!(!two.registry.has_credentials(known.key));
}

#[tokio::test]
async fn the_mode_decides_and_the_inbox_has_an_end() {
    let node = lone_node().await;
    let ids: Vec<DeviceId> = (0..120).map(|n| id(&format!("d{n}"))).collect();
    let discover = |mode| node.registry.discover(&ids, mode);
    assert_eq!(discover(JoinMode::Closed).await.unwrap(), 0);
    assert_eq!(discover(JoinMode::Approve).await.unwrap(), 100);
    assert_eq!(node.registry.pending(), 100);
    assert_eq!(discover(JoinMode::Approve).await.unwrap(), 0);
}

#[tokio::test]
async fn a_deleted_device_is_not_found_again_until_somebody_adds_it() {
    let stores = Stores::default();
    let node = stores.node().await;
    let (registry, actor) = (&node.registry, Actor::server());
    registry
        .discover(&[id("x1")], JoinMode::Open)
        .await
        .unwrap();
    registry.delete(&actor, &id("x1"), None).await.unwrap();
    let after_restart = stores.node().await;
    for registry in [registry, &after_restart.registry] {
        let found = registry.discover(&[id("x1")], JoinMode::Open).await;
        assert_eq!(found.unwrap(), 0);
    }
    let settings = DeviceSettings::default();
    registry.add(&actor, &id("x1"), settings).await.unwrap();
    assert!(registry.by_id(&id("x1")).is_some());
}
