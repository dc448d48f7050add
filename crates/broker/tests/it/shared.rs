//! Shared subscriptions.

use dormouse_broker::{Limits, Message, QoS};

use crate::harness::TestBroker;
use crate::wire::{self, Connect, Props, Publish, V4, V5};

#[tokio::test(start_paused = true)]
async fn shared_subscriptions_give_each_message_to_one_member() {
    let broker = TestBroker::start().await;
    let mut members = Vec::new();
    for (name, level) in [("a", V5), ("b", V4)] {
        let mut member = broker.connect(Connect::new(level, name)).await;
        member.subscribe("$share/group/s/+", 1).await;
        members.push(member);
    }
    let mut plain = broker.connect(Connect::new(V5, "plain")).await;
    plain.subscribe("s/#", 1).await;
    let mut other = broker.connect(Connect::new(V5, "other")).await;
    other.subscribe("$share/other/s/+", 1).await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    publisher
        .publish(Publish::new("s/kept", "old").retain())
        .await;
    for number in 1..6 {
        publisher.publish_fully("s/x", &number.to_string(), 1).await;
    }
    for client in [&mut plain, &mut other] {
        for _ in 0..6 {
            client.message().await;
        }
    }
    let mut seen = Vec::new();
    for member in &mut members {
        for _ in 0..3 {
            let message = member.message().await;
            assert!(!message.retain);
            seen.push(message.text().to_owned());
        }
        member.ping().await;
    }
    seen.sort();
    assert_eq!(seen, ["1", "2", "3", "4", "5", "old"]);
    // Retained messages are not for shared subscriptions.
    let mut late = broker.connect(Connect::new(V5, "late")).await;
    late.subscribe("$share/late/s/+", 1).await;
    late.ping().await;
    late.send(&wire::subscribe(
        V5,
        9,
        &[("$share/late/s/+", 0x04)],
        &Props::none(),
    ))
    .await;
    late.expect_end(0x82).await;
}

#[tokio::test(start_paused = true)]
async fn a_shared_subscription_prefers_members_that_are_there() {
    let broker = TestBroker::start().await;
    let mut away = broker.connect(Connect::new(V5, "away").persistent()).await;
    away.subscribe("$share/g/s", 1).await;
    away.leave().await;
    let mut here = broker.connect(Connect::new(V5, "here")).await;
    here.subscribe("$share/g/s", 1).await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    for number in 0..4 {
        publisher.publish_fully("s", &number.to_string(), 1).await;
        assert_eq!(here.message().await.text(), number.to_string());
    }
    here.leave().await;
    broker
        .until("left", |b| b.handle.sessions().len() == 2)
        .await;
    publisher.publish_fully("s", "kept", 1).await;
    let mut away = broker.connect(Connect::new(V5, "away").persistent()).await;
    assert_eq!(away.message().await.text(), "kept");
}

#[tokio::test(start_paused = true)]
async fn what_a_member_leaves_behind_goes_to_another() {
    let broker = TestBroker::start().await;
    let props = Props::none().u16(0x21, 2);
    let mut first = broker.connect(Connect::new(V5, "first").props(props)).await;
    first.subscribe("$share/g/s", 2).await;
    first.subscribe("own", 1).await;
    let mut publisher = broker.connect(Connect::new(V5, "p")).await;
    publisher.publish_fully("s", "sent, qos 2", 2).await;
    publisher.publish_fully("s", "sent, qos 1", 1).await;
    publisher.publish_fully("s", "waiting, qos 2", 2).await;
    publisher.publish_fully("s", "waiting, qos 0", 0).await;
    publisher.publish_fully("own", "its own", 1).await;
    first.raw_message().await;
    first.raw_message().await;
    let mut second = broker.connect(Connect::new(V4, "second")).await;
    second.subscribe("$share/g/s", 2).await;
    second.subscribe("own", 2).await;
    drop(first);
    // Not what it may have received with QoS 2, and nothing of its own.
    assert_eq!(second.message().await.text(), "sent, qos 1");
    assert_eq!(second.message().await.text(), "waiting, qos 2");
    second.ping().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_without_room_is_passed_over() {
    let limits = Limits {
        queue_messages: 1,
        ..Limits::default()
    };
    let broker = TestBroker::with(limits).await;
    for name in ["a", "b"] {
        let mut member = broker.connect(Connect::new(V4, name).persistent()).await;
        member.subscribe("$share/g/s", 1).await;
        member.leave().await;
    }
    broker
        .until("away", |b| b.handle.stats().connections == 0)
        .await;
    let publish = || {
        let message = Message::new("s", "x").qos(QoS::AtLeastOnce);
        let delivery = broker.handle.publish(message).unwrap();
        (delivery.queued, delivery.dropped)
    };
    assert_eq!((publish(), publish(), publish()), ((1, 0), (1, 0), (0, 1)));
    assert_eq!(broker.handle.stats().dropped_full, 1);
}
