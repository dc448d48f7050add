//! What the application publishes itself, and what it keeps to itself.

use std::time::Duration;

use dormouse_broker::{Message, QoS};

use crate::harness::{Commit, TestBroker};
use crate::wire::{Connect, Publish, V4, V5};

#[tokio::test(start_paused = true)]
async fn what_is_for_nobody_is_neither_passed_on_nor_retained() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    client.subscribe("#", 1).await;
    broker.hooks.set_commit(Commit::Swallow);
    client
        .publish(Publish::new("t", "x").qos(1, 9).retain())
        .await;
    client.expect_answer(4, 9).await;
    client.ping().await;
    assert_eq!(broker.handle.stats().retained, 0);
}

#[tokio::test(start_paused = true)]
async fn the_application_publishes_to_those_who_are_there_and_those_who_will_be() {
    let broker = TestBroker::start().await;
    let mut here = broker.connect(Connect::new(V4, "here")).await;
    here.subscribe("cmd", 1).await;
    let mut away = broker.connect(Connect::new(V5, "away").persistent()).await;
    away.subscribe("cmd", 1).await;
    away.leave().await;
    broker
        .until_heard("disconnected away: client disconnected")
        .await;
    let command = |qos| {
        Message::new("cmd", "on")
            .qos(qos)
            .expiry(Duration::from_secs(6))
    };
    let delivery = broker.handle.publish(command(QoS::AtLeastOnce)).unwrap();
    assert_eq!(
        (delivery.live, delivery.queued, delivery.dropped),
        (1, 1, 0)
    );
    assert_eq!(here.message().await.text(), "on");
    let delivery = broker.handle.publish(command(QoS::AtMostOnce)).unwrap();
    assert_eq!(
        (delivery.live, delivery.queued, delivery.dropped),
        (1, 0, 1)
    );
    let mut away = broker.connect(Connect::new(V5, "away").persistent()).await;
    let message = away.message().await;
    assert!(matches!(message.props.number(0x02), Some(1..=6)));
    assert_eq!(broker.hooks.count("publish"), 0, "no hook hears of it");
    assert!(broker.handle.publish(Message::new("cmd/#", "on")).is_err());
    assert!(broker.handle.publish(Message::new("", "on")).is_err());
}

#[tokio::test(start_paused = true)]
async fn retained_messages_can_be_restored_and_cleared_from_inside() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    client.subscribe("s/#", 1).await;
    assert_eq!(
        broker.handle.set_retained(Message::new("s/1", "on")),
        Ok(true)
    );
    client.ping().await;
    let mut late = broker.connect(Connect::new(V4, "late")).await;
    late.subscribe("s/+", 1).await;
    let message = late.message().await;
    assert!(message.retain && message.text() == "on");
    assert!(broker.handle.clear_retained("s/1"));
    assert!(!broker.handle.clear_retained("s/1"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_acknowledge_by_the_deadline_is_reset() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "c").persistent()).await;
        client.subscribe("cmd", 1).await;
        let message = || Message::new("cmd", "on").qos(QoS::AtLeastOnce);
        let deadline = Duration::from_millis(100);
        broker
            .handle
            .publish(message().ack_deadline(deadline))
            .unwrap();
        let in_time = client.message().await;
        assert_eq!(in_time.text(), "on");
        broker
            .handle
            .publish(message().ack_deadline(deadline))
            .unwrap();
        broker.handle.publish(message()).unwrap();
        let late = client.raw_message().await;
        let patient = client.raw_message().await;
        assert_ne!(late.id, in_time.id);
        client.expect_end(0x97).await;
        // What was overdue is never sent again; what has no deadline is.
        let mut client = broker.connect(Connect::new(level, "c").persistent()).await;
        let again = client.message().await;
        assert_eq!((again.id, again.dup), (patient.id, true));
        client.ping().await;
        client.leave().await;
        broker.connect(Connect::new(level, "c")).await.leave().await;
    }
    assert_eq!(broker.handle.stats().ack_overdue, 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_deadline_passed_while_it_waited_is_never_sent() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c").persistent()).await;
    client.subscribe("cmd", 1).await;
    client.leave().await;
    broker
        .until_heard("disconnected c: client disconnected")
        .await;
    let message = Message::new("cmd", "on").qos(QoS::AtLeastOnce);
    let message = message.ack_deadline(Duration::from_millis(20));
    assert_eq!(broker.handle.publish(message).unwrap().queued, 1);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let mut client = broker.connect(Connect::new(V5, "c").persistent()).await;
    client.ping().await;
    assert_eq!(broker.handle.stats().dropped_expired, 1);
}
