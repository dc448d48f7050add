//! Commit before acknowledgement.

use std::time::Duration;

use dormouse_broker::{AckBatch, KickReason, Limits, ReasonCode};

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
