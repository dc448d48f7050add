//! Every bound holds, and what is beyond it is counted.

use std::time::Duration;

use dormouse_broker::{Limits, Message, QoS};

use crate::harness::TestBroker;
use crate::wire::{self, Connect, Packet, Props, Publish, V4, V5};

async fn broker(change: impl FnOnce(&mut Limits)) -> TestBroker {
    let mut limits = Limits::default();
    change(&mut limits);
    TestBroker::with(limits).await
}

async fn broker_on_tcp(change: impl FnOnce(&mut Limits)) -> TestBroker {
    let mut limits = Limits::default();
    change(&mut limits);
    TestBroker::on_tcp(limits).await
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let broker = broker_on_tcp(|limits| limits.connections = 2).await;
    let first = broker.connect(Connect::new(V4, "a")).await;
    let _second = broker.connect(Connect::new(V4, "b")).await;
    let mut third = broker.dial(V4).await;
    assert_eq!(third.next_or_end().await, None);
    broker.until_heard("refused: too many connections").await;
    first.leave().await;
    broker
        .until("a place", |b| b.handle.stats().connections == 1)
        .await;
    broker.connect(Connect::new(V4, "c")).await.ping().await;
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let broker = broker_on_tcp(|limits| limits.connections_per_ip = 1).await;
    let _first = broker.connect(Connect::new(V4, "a")).await;
    let mut second = broker.dial(V4).await;
    assert_eq!(second.next_or_end().await, None);
    broker
        .until_heard("refused: too many connections from this address")
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_connect_in_time_is_closed() {
    let broker = broker(|limits| limits.connect_timeout = Duration::from_millis(100)).await;
    let mut silent = broker.dial(V4).await;
    let mut slow = broker.dial(V5).await;
    slow.send(&Connect::new(V5, "c").bytes()[..10]).await;
    assert_eq!(silent.next_or_end().await, None);
    assert_eq!(slow.next_or_end().await, None);
    let both = |b: &TestBroker| b.hooks.count("refused: no complete CONNECT in time") == 2;
    broker.until("both refused", both).await;
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_small() {
    let broker = broker(|limits| limits.connect_packet_bytes = 200).await;
    let long = "x".repeat(300);
    let mut client = broker.dial(V5).await;
    client.send(&Connect::new(V5, &long).bytes()).await;
    assert_eq!(client.next_or_end().await, None);
    // The length alone is enough: nothing that large is waited for.
    let mut client = broker.dial(V5).await;
    client.send(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]).await;
    assert_eq!(client.next_or_end().await, None);
    broker
        .connect(Connect::new(V5, &long[..100]))
        .await
        .ping()
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_packet_over_the_maximum_ends_the_connection() {
    let broker = broker(|limits| limits.packet_bytes = 1000).await;
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "c")).await;
        let exact = Publish::new("t", vec![b'x'; 990]).qos(1, 1);
        let spare = 1000 - exact.bytes(level).len();
        let exact = Publish::new("t", vec![b'x'; 990 + spare]).qos(1, 1);
        assert_eq!(exact.bytes(level).len(), 1000);
        client.publish(exact).await;
        client.expect_answer(4, 1).await;
        client.send(&[0x32, 0xE6, 0x07]).await;
        client.expect_end(0x95).await;
    }
}

#[tokio::test(start_paused = true)]
async fn queues_are_bounded_in_messages_and_in_bytes() {
    let broker = broker(|limits| {
        limits.queue_messages = 3;
        limits.queue_bytes = 1000;
    })
    .await;
    let mut sleeper = broker.connect(Connect::new(V4, "c").persistent()).await;
    sleeper.subscribe("q", 1).await;
    sleeper.leave().await;
    broker
        .until("away", |b| b.handle.stats().connections == 0)
        .await;
    let publish = |text: String| {
        let message = Message::new("q", text).qos(QoS::AtLeastOnce);
        broker.handle.publish(message).unwrap().queued
    };
    assert_eq!(publish("x".repeat(600)), 1);
    assert_eq!(publish("y".repeat(600)), 0, "bytes");
    assert_eq!(publish("1".into()) + publish("2".into()), 2);
    assert_eq!(publish("3".into()), 0, "messages");
    assert_eq!(broker.handle.stats().dropped_full, 2);
    assert!(broker.handle.stats().queued_bytes > 600);
    let mut sleeper = broker.connect(Connect::new(V4, "c").persistent()).await;
    sleeper.message().await;
    assert_eq!(sleeper.message().await.text(), "1");
    assert_eq!(sleeper.message().await.text(), "2");
    sleeper.ping().await;
    assert_eq!(broker.handle.stats().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn all_queues_together_are_bounded() {
    let broker = broker(|limits| limits.total_queue_bytes = 1000).await;
    for name in ["a", "b"] {
        let mut sleeper = broker.connect(Connect::new(V4, name).persistent()).await;
        sleeper.subscribe("q", 1).await;
        sleeper.leave().await;
    }
    broker
        .until("away", |b| b.handle.stats().connections == 0)
        .await;
    let message = Message::new("q", "x".repeat(700)).qos(QoS::AtLeastOnce);
    let delivery = broker.handle.publish(message).unwrap();
    assert_eq!((delivery.queued, delivery.dropped), (1, 1));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_is_closed() {
    let broker = broker_on_tcp(|limits| {
        limits.queue_messages = 10;
        limits.write_timeout = Duration::from_millis(300);
    })
    .await;
    let mut lazy = broker.connect(Connect::new(V4, "lazy")).await;
    lazy.subscribe("s", 0).await;
    let mut eager = broker.connect(Connect::new(V4, "eager")).await;
    eager.subscribe("s", 1).await;
    let payload = "x".repeat(30_000);
    // Far more than the socket's buffers take.
    for _ in 0..1000 {
        let message = Message::new("s", payload.clone()).qos(QoS::AtLeastOnce);
        let delivery = broker.handle.publish(message).unwrap();
        assert!(delivery.live >= 1);
        eager.message().await;
        if broker
            .hooks
            .heard("disconnected lazy: client does not read")
        {
            break;
        }
    }
    broker
        .until_heard("disconnected lazy: client does not read")
        .await;
    assert!(broker.handle.stats().dropped_full > 0);
    assert_eq!(broker.handle.stats().slow_consumers, 1);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_of_one_session_are_limited() {
    let broker = broker(|limits| limits.subscriptions = 2).await;
    for (level, code) in [(V4, 0x80), (V5, 0x97)] {
        let mut client = broker.connect(Connect::new(level, "c")).await;
        let filters = [("a", 0), ("b", 0), ("c", 0), ("a", 1)];
        client
            .send(&wire::subscribe(level, 1, &filters, &Props::none()))
            .await;
        let codes = vec![0, 0, code, 1];
        assert_eq!(client.next().await, Packet::SubAck { id: 1, codes });
        client.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn retained_messages_are_limited_and_still_passed_on() {
    let broker = broker(|limits| limits.retained_messages = 1).await;
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    client.subscribe("r/#", 0).await;
    for topic in ["r/1", "r/2", "r/1"] {
        client.publish(Publish::new(topic, "x").retain()).await;
        assert_eq!(client.message().await.topic, topic);
    }
    let stats = broker.handle.stats();
    assert_eq!((stats.retained, stats.retain_refused), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_to_everything_gets_all_retained_messages() {
    let broker = broker(|limits| limits.queue_messages = 10).await;
    for number in 0..500 {
        let message = Message::new(format!("r/{number}"), "x").qos(QoS::AtLeastOnce);
        assert_eq!(broker.handle.set_retained(message), Ok(true));
    }
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    client.subscribe("r/#", 1).await;
    for _ in 0..500 {
        assert!(client.message().await.retain);
    }
    client.ping().await;
    assert_eq!(broker.handle.stats().dropped_full, 0);
}

#[tokio::test]
async fn connections_come_at_the_rate_beyond_the_burst() {
    let broker = broker_on_tcp(|limits| {
        limits.connect_burst = 2;
        limits.connects_per_s = 20;
    })
    .await;
    let since = tokio::time::Instant::now();
    for number in 0..7 {
        broker
            .connect(Connect::new(V4, &number.to_string()))
            .await
            .leave()
            .await;
    }
    assert!(
        since.elapsed() >= Duration::from_millis(200),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(broker.handle.stats().connects, 7, "they wait, none is lost");
}

#[tokio::test(start_paused = true)]
async fn unreleased_qos_2_publications_of_an_old_client_are_limited() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    for id in 1..=1024 {
        client.publish(Publish::new("t", "x").qos(2, id)).await;
        client.expect_answer(5, id).await;
    }
    client.publish(Publish::new("t", "x").qos(2, 2000)).await;
    client.expect_end(0).await;
}

#[tokio::test(start_paused = true)]
async fn senseless_limits_are_refused_by_name() {
    let limits = Limits {
        queue_bytes: 0,
        ..Limits::default()
    };
    assert_eq!(
        limits.check().unwrap_err().to_string(),
        "limit queue_bytes must be at least 1"
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_clients_are_served_each_its_own_messages() {
    let broker = TestBroker::start().await;
    let mut clients = Vec::new();
    for number in 0..10_000 {
        let mut client = broker.dial_small(V4);
        client
            .send(&Connect::new(V4, &format!("c{number}")).bytes())
            .await;
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(matches!(
            client.next().await,
            Packet::ConnAck { code: 0, .. }
        ));
        assert_eq!(client.subscribe(&format!("own/{number}"), 1).await, 1);
    }
    for number in 0..10_000 {
        let message = Message::new(format!("own/{number}"), number.to_string());
        let delivery = broker
            .handle
            .publish(message.qos(QoS::AtLeastOnce))
            .unwrap();
        assert_eq!(delivery.live, 1);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.message().await.text(), number.to_string());
    }
    assert_eq!(broker.handle.stats().connections, 10_000);
    drop(clients);
    broker
        .until("all gone", |b| b.handle.stats().connections == 0)
        .await;
    assert!(broker.handle.sessions().is_empty());
}
