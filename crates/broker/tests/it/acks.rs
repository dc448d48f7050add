//! Commit before acknowledgement, and what the application publishes itself.

use std::time::Duration;

use dormouse_broker::{AckBatch, KickReason, Limits, Message, QoS, ReasonCode};

use crate::harness::{Commit, SOON, TestBroker};
use crate::wire::{self, Connect, Packet, Props, Publish, V4, V5};

#[tokio::test(start_paused = true)]
async fn acknowledgements_wait_for_the_commit_and_come_in_order() {
    let broker = TestBroker::start().await;
    broker.hooks.set_commit(Commit::Hold);
    for level in [V4, V5] {
        let mut watcher = broker.connect(Connect::new(level, "w")).await;
        watcher.subscribe("t", 1).await;
        let mut client = broker.connect(Connect::new(level, "c")).await;
        for id in 1..=4 {
            let qos = if id == 3 { 2 } else { 1 };
            client
                .publish(Publish::new("t", id.to_string()).qos(qos, id))
                .await;
        }
        broker
            .until("4 in flight", |b| b.hooks.acks.lock().unwrap().len() == 4)
            .await;
        client.ping().await;
        let mut acks = broker.hooks.take_acks();
        let last = acks.pop().unwrap();
        // Resolved out of order they still go out in order.
        for ack in acks.drain(1..).rev() {
            ack.done();
        }
        last.done();
        client.expect_silence().await;
        watcher.expect_silence().await;
        acks.pop().unwrap().done();
        for (kind, id) in [(4, 1), (4, 2), (5, 3), (4, 4)] {
            client.expect_answer(kind, id).await;
        }
        for id in 1..=4 {
            assert_eq!(watcher.message().await.text(), id.to_string());
        }
        client.send(&wire::answer(6, 3)).await;
        client.expect_answer(7, 3).await;
        client.leave().await;
        watcher.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_is_never_acknowledged_and_closes_the_connection() {
    let broker = TestBroker::start().await;
    broker.hooks.set_commit(Commit::Hold);
    for level in [V4, V5] {
        for explicit in [true, false] {
            let mut client = broker.connect(Connect::new(level, "c")).await;
            for id in 1..=3 {
                client.publish(Publish::new("t", "x").qos(1, id)).await;
            }
            broker
                .until("3 in flight", |b| b.hooks.acks.lock().unwrap().len() == 3)
                .await;
            let mut acks = broker.hooks.take_acks().into_iter();
            let (first, second, third) = (acks.next(), acks.next(), acks.next());
            third.unwrap().done();
            first.unwrap().done();
            if explicit {
                second.unwrap().failed();
            } else {
                drop(second);
            }
            client.expect_answer(4, 1).await;
            client.expect_end(0x83).await;
        }
    }
    assert_eq!(broker.handle.stats().commit_failed, 4);
    assert!(
        broker
            .hooks
            .heard("disconnected c: a publication could not be committed")
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_acknowledges_with_its_reason_and_is_not_passed_on() {
    let broker = TestBroker::start().await;
    broker.hooks.set_commit(Commit::Hold);
    for (level, reason) in [(V4, 0), (V5, 0x99)] {
        let mut watcher = broker.connect(Connect::new(level, "w")).await;
        watcher.subscribe("t", 1).await;
        let mut client = broker.connect(Connect::new(level, "c")).await;
        client.publish(Publish::new("t", "x").qos(1, 1)).await;
        broker
            .until("in flight", |b| !b.hooks.acks.lock().unwrap().is_empty())
            .await;
        let mut batch = AckBatch::new();
        for ack in broker.hooks.take_acks() {
            batch.refuse(ack, ReasonCode::PAYLOAD_FORMAT_INVALID);
        }
        drop(batch);
        assert_eq!(
            client.next().await,
            Packet::Answer {
                kind: 4,
                id: 1,
                reason
            }
        );
        watcher.expect_silence().await;
        watcher.leave().await;
    }
}

#[tokio::test]
async fn a_batch_acknowledges_many_connections() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    broker.hooks.set_commit(Commit::Hold);
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = broker
            .connect(Connect::new(V4, &format!("c{number}")))
            .await;
        for id in 1..=20 {
            client.publish(Publish::new("t", "x").qos(1, id)).await;
        }
        clients.push(client);
    }
    broker
        .until("200 in flight", |b| {
            b.hooks.acks.lock().unwrap().len() == 200
        })
        .await;
    let mut batch = AckBatch::new();
    for ack in broker.hooks.take_acks() {
        batch.done(ack);
    }
    batch.flush();
    for client in &mut clients {
        for id in 1..=20 {
            client.expect_answer(4, id).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reading_pauses_when_the_window_is_full() {
    let limits = Limits {
        inbound_inflight: 4,
        ..Limits::default()
    };
    let broker = TestBroker::with(limits).await;
    broker.hooks.set_commit(Commit::Hold);
    let mut client = broker.connect(Connect::new(V4, "c").keep_alive(1)).await;
    for id in 1..=10 {
        client.publish(Publish::new("t", "x").qos(1, id)).await;
    }
    // Longer than the keep-alive: it is not the client who is silent.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(broker.hooks.count("publish"), 4);
    for round in [4_usize, 4, 2] {
        broker
            .until("a window full", |b| {
                b.hooks.acks.lock().unwrap().len() == round
            })
            .await;
        for ack in broker.hooks.take_acks() {
            ack.done();
        }
    }
    for id in 1..=10 {
        client.expect_answer(4, id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_the_receive_maximum_ends_an_mqtt_5_connection() {
    let limits = Limits {
        inbound_inflight: 4,
        ..Limits::default()
    };
    let broker = TestBroker::with(limits).await;
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    // Acknowledged QoS 2 publications count until they are released.
    for id in 1..=4 {
        client.publish(Publish::new("t", "x").qos(2, id)).await;
        client.expect_answer(5, id).await;
    }
    client.publish(Publish::new("t", "x").qos(1, 5)).await;
    client.expect_end(0x93).await;
    assert_eq!(broker.hooks.count("publish"), 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_published_last_is_passed_on_though_it_has_gone() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.connect(Connect::new(V4, "w")).await;
    watcher.subscribe("t", 1).await;
    broker.hooks.set_commit(Commit::Hold);
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    client
        .publish(Publish::new("t", "last words").qos(1, 1))
        .await;
    client.leave().await;
    broker
        .until_heard("disconnected c: client disconnected")
        .await;
    for ack in broker.hooks.take_acks() {
        ack.done();
    }
    assert_eq!(watcher.message().await.text(), "last words");
    // But not what a revoked one published.
    let mut client = broker
        .connect(Connect::new(V4, "c").login("someone", "secret"))
        .await;
    client
        .publish(Publish::new("t", "too late").qos(1, 1))
        .await;
    client.ping().await;
    assert_eq!(broker.handle.kick("someone", KickReason::Revoked), 1);
    broker
        .until_heard("disconnected c: credentials revoked")
        .await;
    for ack in broker.hooks.take_acks() {
        ack.done();
    }
    watcher.ping().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_acknowledged_before_the_broker_stops() {
    let broker = TestBroker::start().await;
    broker.hooks.set_commit(Commit::Hold);
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "c")).await;
        client.publish(Publish::new("t", "x").qos(1, 1)).await;
        client.ping().await;
        if level == V5 {
            broker.order_stop();
            client.expect_silence().await;
            let acks = broker.hooks.take_acks();
            for ack in acks {
                ack.done();
            }
            client.expect_answer(4, 1).await;
            client.expect_end(0x8B).await;
        }
    }
    assert_eq!(broker.stop().await, Ok(()));
}

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

#[tokio::test]
async fn throughput_of_one_connection_is_not_bound_by_the_commit_s_latency() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    broker.hooks.set_commit(Commit::Hold);
    let hooks = broker.hooks.clone();
    let committer = std::thread::spawn(move || {
        let mut done = 0;
        while done < 2_000 {
            std::thread::sleep(Duration::from_millis(5));
            let mut batch = AckBatch::new();
            for ack in hooks.take_acks() {
                batch.done(ack);
                done += 1;
            }
        }
    });
    let mut client = broker
        .connect(Connect::new(V5, "c").props(Props::none()))
        .await;
    let since = tokio::time::Instant::now();
    let (mut sent, mut acknowledged) = (0_u16, 0_u16);
    while acknowledged < 2_000 {
        while sent < 2_000 && sent - acknowledged < 100 {
            sent += 1;
            client.publish(Publish::new("t", "x").qos(1, sent)).await;
        }
        acknowledged += 1;
        client.expect_answer(4, acknowledged).await;
    }
    committer.join().unwrap();
    // One at a time, 2,000 commits of 5 ms would take 10 s.
    assert!(since.elapsed() < SOON / 2, "{:?}", since.elapsed());
}
