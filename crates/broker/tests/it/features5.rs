//! What MQTT 5 adds.

use std::time::Duration;

use crate::harness::{Client, TestBroker};
use crate::wire::{self, Connect, Packet, Props, Publish, V4, V5};

/// A CONNACK's properties.
async fn connack(broker: &TestBroker, connect: Connect) -> (Client, Props) {
    let mut client = broker.dial(V5).await;
    client.send(&connect.bytes()).await;
    match client.next().await {
        Packet::ConnAck { code: 0, props, .. } => (client, props),
        other => panic!("expected CONNACK, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_terms_are_in_the_connack() {
    let broker = TestBroker::start().await;
    let connect = Connect::new(V5, "c")
        .keep_alive(120)
        .props(Props::none().u32(0x11, u32::MAX));
    let (_client, props) = connack(&broker, connect).await;
    assert_eq!(props.number(0x13), Some(60), "server keep alive");
    assert_eq!(props.number(0x11), Some(7 * 24 * 3600), "session expiry");
    assert_eq!(props.number(0x21), Some(128), "receive maximum");
    assert_eq!(props.number(0x27), Some(64 * 1024), "maximum packet size");
    assert_eq!(props.number(0x22), Some(16), "topic alias maximum");
    let (_client, props) = connack(&broker, Connect::new(V5, "d").keep_alive(30)).await;
    assert_eq!((props.number(0x13), props.number(0x11)), (None, None));
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_the_message_travels_with_it() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    let mut old = broker.connect(Connect::new(V4, "old")).await;
    client.subscribe("m", 2).await;
    old.subscribe("m", 2).await;
    let props = Props::none()
        .u8(0x01, 1)
        .pair("a", "2")
        .text(0x03, "text/plain")
        .u16(0x23, 1)
        .text(0x08, "answers/here")
        .u32(0x02, 100)
        .text(0x09, "correlated")
        .pair("a", "1");
    client.publish(Publish::new("m", "x").props(props)).await;
    let message = client.message().await;
    let expected = Props::none()
        .u32(0x02, 100)
        .u8(0x01, 1)
        .pair("a", "2")
        .text(0x03, "text/plain")
        .text(0x08, "answers/here")
        .text(0x09, "correlated")
        .pair("a", "1");
    assert_eq!(message.props, expected);
    assert_eq!(old.message().await.text(), "x");
}

#[tokio::test(start_paused = true)]
async fn an_expired_message_is_not_delivered_and_the_rest_of_its_life_is_told() {
    let broker = TestBroker::start().await;
    let sleeper = Connect::new(V5, "sleeper").persistent();
    let mut client = broker.connect(sleeper.clone()).await;
    client.subscribe("e/#", 2).await;
    client.leave().await;
    broker
        .until("away", |b| b.handle.stats().connections == 0)
        .await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    let expiry = |seconds| Props::none().u32(0x02, seconds);
    for (id, seconds) in [(1, 1), (2, 50)] {
        let publish = Publish::new("e/x", format!("{seconds}")).qos(1, id);
        publisher.publish(publish.props(expiry(seconds))).await;
        publisher.next().await;
    }
    let retained = Publish::new("e/r", "kept").retain().props(expiry(1));
    publisher.publish(retained).await;
    publisher.ping().await;
    assert_eq!(broker.handle.stats().retained, 1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut client = broker.connect(sleeper).await;
    let message = client.message().await;
    assert_eq!(message.text(), "50");
    let left = message.props.number(0x02).unwrap();
    assert!((47..50).contains(&left), "{left}");
    client.subscribe("e/r", 1).await;
    client.ping().await;
    assert_eq!(broker.handle.stats().dropped_expired, 1);
}

#[tokio::test(start_paused = true)]
async fn no_local_keeps_own_messages_away() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    let mut other = broker.connect(Connect::new(V5, "d")).await;
    client.subscribe("n", 0x04 | 1).await;
    other.subscribe("n", 1).await;
    client.publish(Publish::new("n", "mine")).await;
    assert_eq!(other.message().await.text(), "mine");
    other.publish(Publish::new("n", "yours")).await;
    assert_eq!(client.message().await.text(), "yours");
}

#[tokio::test(start_paused = true)]
async fn retain_as_published_and_retain_handling() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    client.subscribe("h/live", 0x08).await;
    client.publish(Publish::new("h/live", "x").retain()).await;
    assert!(client.message().await.retain, "as published");
    client.publish(Publish::new("h/kept", "x").retain()).await;
    client.subscribe("h/kept", 0x10).await;
    assert!(
        client.message().await.retain,
        "handling 1: sent to a new subscription"
    );
    client.subscribe("h/kept", 0x10).await;
    client.ping().await;
    client.subscribe("h/kept", 0x00).await;
    client.message().await;
    client.send(&wire::unsubscribe(V5, 9, &["h/kept"])).await;
    client.next().await;
    client.subscribe("h/kept", 0x20).await;
    client.ping().await;
}

#[tokio::test(start_paused = true)]
async fn every_matching_subscription_s_identifier_is_told() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    let id = |id| Props::none().varint(0x0B, id);
    client.subscribe_with("i/x", 1, &id(456_789)).await;
    client.subscribe_with("i/+", 1, &id(2)).await;
    client.subscribe("i/#", 1).await;
    client.publish(Publish::new("i/x", "x")).await;
    let mut ids = client.message().await.props.subscription_ids();
    ids.sort_unstable();
    assert_eq!(ids, [2, 456_789]);
    client.publish(Publish::new("i/y", "x")).await;
    assert_eq!(client.message().await.props.subscription_ids(), [2]);
    client
        .send(&wire::subscribe(V5, 7, &[("i/z", 0)], &id(0)))
        .await;
    client.expect_end(0x82).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_s_topic_aliases_last_as_long_as_its_connection() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c").persistent()).await;
    client.subscribe("al/#", 0).await;
    let alias = |alias| Props::none().u16(0x23, alias);
    client
        .publish(Publish::new("al/1", "set").props(alias(1)))
        .await;
    assert_eq!(client.message().await.topic, "al/1");
    client
        .publish(Publish::new("", "use").props(alias(1)))
        .await;
    assert_eq!(client.message().await.topic, "al/1");
    client
        .publish(Publish::new("al/2", "change").props(alias(1)))
        .await;
    client
        .publish(Publish::new("", "use").props(alias(1)))
        .await;
    client.message().await;
    let message = client.message().await;
    assert_eq!((message.topic.as_str(), message.text()), ("al/2", "use"));
    client.leave().await;
    let mut client = broker.connect(Connect::new(V5, "c").persistent()).await;
    client
        .publish(Publish::new("", "forgotten").props(alias(1)))
        .await;
    client.expect_end(0x82).await;
    for bad in [0, 17] {
        let mut client = broker.connect(Connect::new(V5, "d")).await;
        client
            .publish(Publish::new("al", "bad").props(alias(bad)))
            .await;
        client.expect_end(0x94).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_broker_sets_aliases_when_the_client_takes_them() {
    let broker = TestBroker::start().await;
    let props = Props::none().u16(0x22, 1);
    let mut client = broker.connect(Connect::new(V5, "c").props(props)).await;
    client.subscribe("topic/#", 2).await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    for qos in 0..=2 {
        publisher.publish_fully("topic/a", "x", qos).await;
    }
    let first = client.message().await;
    assert_eq!(
        (first.topic.as_str(), first.props.number(0x23)),
        ("topic/a", Some(1))
    );
    for _ in 1..=2 {
        let next = client.message().await;
        assert_eq!(
            (next.topic.as_str(), next.props.number(0x23)),
            ("", Some(1))
        );
    }
    publisher.publish_fully("topic/b", "x", 0).await;
    let other = client.message().await;
    assert_eq!(
        (other.topic.as_str(), other.props.number(0x23)),
        ("topic/b", None)
    );
}

#[tokio::test(start_paused = true)]
async fn packets_over_the_client_s_maximum_are_not_sent() {
    let broker = TestBroker::start().await;
    let props = Props::none().u32(0x27, 64);
    let mut client = broker.connect(Connect::new(V5, "c").props(props)).await;
    client.subscribe("size", 2).await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    // 2 header + 6 topic + 2 identifier + 1 properties
    let exact = "x".repeat(64 - 11);
    for payload in [format!("{exact}y"), exact.clone(), "small".into()] {
        publisher.publish_fully("size", &payload, 1).await;
    }
    assert_eq!(client.message().await.text(), exact);
    assert_eq!(client.message().await.text(), "small");
    assert_eq!(broker.handle.stats().dropped_too_large, 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_in_flight_than_the_client_s_receive_maximum() {
    let broker = TestBroker::start().await;
    let props = Props::none().u16(0x21, 2);
    let mut client = broker.connect(Connect::new(V5, "c").props(props)).await;
    client.subscribe("f", 2).await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    for number in 0..5 {
        publisher
            .publish_fully("f", &number.to_string(), 1 + number % 2)
            .await;
    }
    let first = client.raw_message().await;
    let second = client.raw_message().await;
    client.expect_silence().await;
    client.send(&wire::answer(4, first.id)).await;
    assert_eq!(client.raw_message().await.text(), "2");
    client.expect_silence().await;
    // QoS 2 counts until it is completed.
    client.send(&wire::answer(5, second.id)).await;
    client.expect_answer(6, second.id).await;
    client.expect_silence().await;
    client.send(&wire::answer(7, second.id)).await;
    assert_eq!(client.raw_message().await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn the_session_ends_when_it_expires() {
    let broker = TestBroker::start().await;
    let connect = |seconds| {
        Connect::new(V5, "c")
            .resume()
            .props(Props::none().u32(0x11, seconds))
    };
    let mut client = broker.connect(connect(1)).await;
    client.subscribe("x", 1).await;
    client.leave().await;
    broker
        .until("the session to end", |b| b.handle.sessions().is_empty())
        .await;
    let (client, _, present) = broker.try_connect(connect(60)).await;
    assert!(!present);
    client.leave().await;
    let (mut client, _, present) = broker.try_connect(connect(60)).await;
    assert!(present);
    // Leaving, a client may change its mind.
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    assert_eq!(client.next_or_end().await, None);
    let (mut client, _, present) = broker.try_connect(connect(0)).await;
    assert!(!present);
    // But not keep what was not to be kept.
    client.send(&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9]).await;
    client.expect_end(0x82).await;
}

#[tokio::test(start_paused = true)]
async fn a_delayed_will_waits_and_is_dropped_if_the_client_returns() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.connect(Connect::new(V5, "watcher")).await;
    watcher.subscribe("w/#", 1).await;
    let dying = |name: &str, delay, expiry| {
        let props = Props::none().u32(0x11, expiry);
        let mut connect = Connect::new(V5, name)
            .will(&format!("w/{name}"), "gone")
            .props(props);
        connect.clean = false;
        connect.will.as_mut().unwrap().props = Props::none().u32(0x18, delay).pair("why", "lost");
        connect
    };
    let since = tokio::time::Instant::now();
    drop(broker.connect(dying("late", 1, 60)).await);
    let will = watcher.message().await;
    assert_eq!((will.topic.as_str(), will.text()), ("w/late", "gone"));
    assert_eq!(
        crate::props::counts(&will.props)
            .into_iter()
            .collect::<Vec<_>>(),
        [(0x26, 1)]
    );
    assert!(since.elapsed() >= Duration::from_secs(1));
    // The end of the session is the latest time for its will.
    drop(broker.connect(dying("short", 60, 1)).await);
    assert_eq!(watcher.message().await.topic, "w/short");
    drop(broker.connect(dying("back", 1, 60)).await);
    broker
        .until_heard("disconnected back: connection lost")
        .await;
    let _back = broker.connect(Connect::new(V5, "back").persistent()).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    watcher.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_with_will_publishes_it() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.connect(Connect::new(V5, "watcher")).await;
    watcher.subscribe("w", 1).await;
    let mut client = broker
        .connect(Connect::new(V5, "c").will("w", "wanted"))
        .await;
    client.send(&[0xE0, 1, 4]).await;
    assert_eq!(watcher.message().await.text(), "wanted");
}

#[tokio::test(start_paused = true)]
async fn authentication_methods_are_refused() {
    let broker = TestBroker::start().await;
    let connect = Connect::new(V5, "c").props(Props::none().text(0x15, "SCRAM"));
    let (_, code, _) = broker.try_connect(connect).await;
    assert_eq!(code, 0x8C);
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    client.send(&[0xF0, 0]).await;
    client.expect_end(0x82).await;
}
