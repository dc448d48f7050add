//! Who has which session: takeover, exclusive identities, kicks, the end.

use std::time::Duration;

use dormouse_broker::{KickReason, Limits, Message, QoS};

use crate::harness::TestBroker;
use crate::wire::{Connect, Packet, Publish, V4, V5};

#[tokio::test(start_paused = true)]
async fn the_newest_connection_of_a_session_wins_and_there_is_no_will() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let name = format!("c{level}");
        let mut watcher = broker.connect(Connect::new(level, "watcher")).await;
        watcher.subscribe("w", 1).await;
        let connect = Connect::new(level, &name).persistent().will("w", "gone");
        let mut old = broker.connect(connect.clone()).await;
        old.subscribe("x", 1).await;
        let (mut new, _, present) = broker.try_connect(connect).await;
        assert!(present);
        old.expect_end(0x8E).await;
        watcher.publish_fully("x", "for the new one", 1).await;
        assert_eq!(new.message().await.text(), "for the new one");
        watcher.ping().await;
        new.leave().await;
        watcher.leave().await;
        let log = broker.hooks.log.lock().unwrap().clone();
        let log: Vec<_> = log
            .iter()
            .filter(|line| line.contains("connected"))
            .collect();
        let log = log
            .into_iter()
            .fold(String::new(), |all, line| all + line + "\n");
        let order = [
            format!("connected {name}\n"),
            format!("disconnected {name}: taken over by a newer connection\n"),
            format!("connected {name}\n"),
        ]
        .concat();
        assert!(log.contains(&order), "{log}");
    }
    assert_eq!(broker.handle.stats().takeovers, 2);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_identity_has_one_client_whatever_its_identifier() {
    let broker = TestBroker::start().await;
    let connect = |id: &str| {
        let login = Connect::new(V5, id)
            .persistent()
            .login("device-1", "secret");
        login.will("w", "gone")
    };
    let mut watcher = broker.connect(Connect::new(V5, "watcher")).await;
    watcher.subscribe("w", 1).await;
    let mut old = broker.connect(connect("first")).await;
    old.subscribe("x", 1).await;
    let (new, _, present) = broker.try_connect(connect("second")).await;
    assert!(!present);
    old.expect_end(0x8E).await;
    watcher.ping().await;
    // The session of the other identifier is gone with its subscriptions.
    let message = Message::new("x", "y").qos(QoS::AtLeastOnce);
    let delivery = broker.handle.publish(message).unwrap();
    assert_eq!((delivery.live, delivery.queued), (0, 0));
    let names: Vec<_> = broker
        .handle
        .sessions()
        .into_iter()
        .map(|s| s.client_id)
        .collect();
    assert!(!names.iter().any(|name| &**name == "first"));
    new.leave().await;
}

#[tokio::test(start_paused = true)]
async fn an_identity_cannot_resume_the_session_of_another() {
    let broker = TestBroker::start().await;
    let mut owner = broker
        .connect(Connect::new(V4, "c").persistent().login("owner", "secret"))
        .await;
    owner.subscribe("x", 1).await;
    let thief = Connect::new(V4, "c").persistent().login("thief", "secret");
    let (mut thief, _, present) = broker.try_connect(thief).await;
    assert!(!present);
    thief.publish(Publish::new("x", "y")).await;
    assert_eq!(owner.message().await.text(), "y");
    thief.ping().await;
}

#[tokio::test(start_paused = true)]
async fn two_clients_that_fight_for_an_identity_are_reported_and_held_off() {
    let broker = TestBroker::start().await;
    let connect = |id: &str| Connect::new(V5, id).login("device-1", "secret");
    let mut last = broker.connect(connect("c0")).await;
    for number in 1..=3 {
        let next = broker.connect(connect(&format!("c{number}"))).await;
        last.expect_end(0x8E).await;
        last = next;
    }
    for _ in 0..2 {
        let (mut refused, code, _) = broker.try_connect(connect("c4")).await;
        assert_eq!(code, 0x97);
        assert_eq!(refused.next_or_end().await, None);
    }
    last.ping().await;
    assert_eq!(broker.hooks.count("conflict device-1 3"), 1);
    // Once the connected one is gone there is nothing to fight for.
    last.leave().await;
    broker
        .until_heard("disconnected c3: client disconnected")
        .await;
    broker.connect(connect("c4")).await.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_identity_is_cut_off_with_everything_it_left() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.connect(Connect::new(V5, "watcher")).await;
    watcher.subscribe("w", 1).await;
    let connect = |level, id: &str| {
        Connect::new(level, id)
            .persistent()
            .login("someone", "secret")
            .will("w", "gone")
    };
    let mut here = broker.connect(connect(V5, "here")).await;
    here.subscribe("x", 1).await;
    let mut away = broker.connect(connect(V4, "away")).await;
    away.subscribe("x", 1).await;
    away.leave().await;
    broker
        .until_heard("disconnected away: client disconnected")
        .await;
    assert_eq!(broker.handle.kick("someone", KickReason::Revoked), 1);
    assert_eq!(broker.handle.kick("nobody", KickReason::Revoked), 0);
    here.expect_end(0x87).await;
    broker
        .until_heard("disconnected here: credentials revoked")
        .await;
    broker
        .until("sessions forgotten", |b| b.handle.sessions().len() == 1)
        .await;
    let delivery = broker
        .handle
        .publish(Message::new("x", "y").qos(QoS::AtLeastOnce))
        .unwrap();
    assert_eq!(
        (delivery.live, delivery.queued, delivery.dropped),
        (0, 0, 0)
    );
    watcher.ping().await;
}

#[tokio::test(start_paused = true)]
async fn an_administrator_s_kick_leaves_the_session() {
    let broker = TestBroker::start().await;
    let connect = Connect::new(V5, "c")
        .persistent()
        .login("someone", "secret");
    let mut client = broker.connect(connect.clone()).await;
    assert_eq!(broker.handle.kick("someone", KickReason::Administrative), 1);
    client.expect_end(0x98).await;
    let (_, _, present) = broker.try_connect(connect).await;
    assert!(present);
}

#[tokio::test(start_paused = true)]
async fn one_client_of_a_shared_identity_can_be_kicked_alone() {
    let broker = TestBroker::start().await;
    let connect = |id: &str| Connect::new(V5, id).persistent().login("someone", "secret");
    let mut one = broker.connect(connect("one")).await;
    let mut other = broker.connect(connect("other")).await;
    let kick = |id| {
        broker
            .handle
            .kick_client("someone", id, KickReason::Revoked)
    };
    assert!(kick("one"));
    one.expect_end(0x87).await;
    broker
        .until("forgotten", |b| b.handle.sessions().len() == 1)
        .await;
    assert!(!kick("one"));
    other.ping().await;
    let (_, _, present) = broker.try_connect(connect("one")).await;
    assert!(!present);
}

#[tokio::test(start_paused = true)]
async fn the_listing_tells_who_is_there_and_who_is_not() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "here")).await;
    client.subscribe("a", 1).await;
    client.subscribe("b", 1).await;
    let mut away = broker.connect(Connect::new(V4, "away").persistent()).await;
    away.subscribe("a", 1).await;
    away.leave().await;
    broker
        .until_heard("disconnected away: client disconnected")
        .await;
    client.publish(Publish::new("a", "x").qos(1, 9)).await;
    client.expect_answer(4, 9).await;
    let mut sessions = broker.handle.sessions();
    sessions.sort_by_key(|session| session.client_id.clone());
    let (away, here) = (&sessions[0], &sessions[1]);
    assert_eq!((away.peer, away.queued, away.subscriptions), (None, 1, 1));
    assert!(here.peer.is_some());
    assert_eq!((here.inflight + here.queued, here.subscriptions), (1, 2));
    assert_eq!(&*here.identity, "anonymous");
}

#[tokio::test]
async fn stopping_tells_the_clients_and_waits_for_them() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    let mut new = broker
        .connect(Connect::new(V5, "new").will("w", "gone"))
        .await;
    let mut old = broker
        .connect(Connect::new(V4, "old").will("w", "gone"))
        .await;
    let mut silent = broker.dial(V4).await;
    let hooks = broker.hooks.clone();
    broker.order_stop();
    new.expect_end(0x8B).await;
    old.expect_end(0).await;
    assert_eq!(silent.next_or_end().await, None);
    assert_eq!(broker.stop().await, Ok(()));
    assert!(hooks.heard("disconnected new: server is stopping"));
    assert!(hooks.heard("disconnected old: server is stopping"));
    assert_eq!(hooks.count("will"), 0);
}

#[tokio::test]
async fn nothing_listens_once_the_broker_has_stopped() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    let address = broker.address;
    broker.stop().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    // And the address is free again at once.
    let config = dormouse_broker::Config::new(address);
    let hooks = std::sync::Arc::new(crate::harness::TestHooks::default());
    dormouse_broker::Broker::bind(config, hooks).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_hook_ends_one_connection_and_nothing_else() {
    let broker = TestBroker::start().await;
    let mut good = broker.connect(Connect::new(V5, "good")).await;
    let mut bad = broker.connect(Connect::new(V5, "bad").persistent()).await;
    bad.publish(Publish::new("x", "panic").qos(1, 1)).await;
    assert_eq!(bad.next_or_end().await, None);
    good.ping().await;
    broker.until_heard("disconnected bad: internal error").await;
    assert_eq!(broker.handle.stats().panics, 1);
    broker
        .connect(Connect::new(V5, "bad").persistent())
        .await
        .ping()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_survives_in_memory_only_up_to_the_limit() {
    let limits = Limits {
        sessions: 2,
        ..Limits::default()
    };
    let broker = TestBroker::with(limits).await;
    let _a = broker.connect(Connect::new(V5, "a")).await;
    let _b = broker.connect(Connect::new(V5, "b")).await;
    for connect in [
        Connect::new(V5, "c"),
        Connect::new(V5, "c").login("other", "secret"),
    ] {
        let (_, code, _) = broker.try_connect(connect).await;
        assert_eq!(code, 0x97);
    }
    let (mut again, code, _) = broker.try_connect(Connect::new(V5, "a")).await;
    assert_eq!(code, 0, "a session replaced needs no more room");
    again.send(&[0xC0, 0]).await;
    assert_eq!(again.next().await, Packet::Pong);
}

#[tokio::test(start_paused = true)]
async fn who_is_revoked_while_connecting_does_not_get_in() {
    let broker = TestBroker::start().await;
    let connect = Connect::new(V5, "c").login("slow", "secret");
    let mut client = broker.dial(V5).await;
    client.send(&connect.bytes()).await;
    broker.until_heard("authenticating slow").await;
    assert_eq!(broker.handle.kick("slow", KickReason::Revoked), 0);
    broker.hooks.gate.notify_one();
    assert!(matches!(
        client.next().await,
        Packet::ConnAck { code: 0x87, .. }
    ));
    assert_eq!(broker.hooks.count("connected"), 0);
    // Who connects after that shows new credentials.
    tokio::time::advance(Duration::from_millis(1)).await;
    let mut client = broker.dial(V5).await;
    client.send(&connect.bytes()).await;
    broker.hooks.gate.notify_one();
    assert!(matches!(
        client.next().await,
        Packet::ConnAck { code: 0, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_client_goes_does_not_keep_its_session() {
    let broker = TestBroker::start().await;
    let connect = || Connect::new(V5, "panic-at-the-end").will("w", "panic");
    drop(broker.connect(connect()).await);
    broker
        .until("two panics", |b| b.handle.stats().panics == 2)
        .await;
    broker
        .until("gone", |b| b.handle.sessions().is_empty())
        .await;
    broker.connect(connect()).await.ping().await;
}
