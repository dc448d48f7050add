//! What every MQTT broker must do, in both versions.

use std::time::Duration;

use dormouse_broker::Limits;

use crate::harness::TestBroker;
use crate::wire::{self, Connect, Packet, Publish, V4, V5};

#[tokio::test]
async fn messages_of_every_qos_arrive_at_the_lower_of_both() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    for level in [V4, V5] {
        let mut publisher = broker.connect(Connect::new(level, "publisher")).await;
        for wanted in 0..=2 {
            let mut subscriber = broker.connect(Connect::new(level, "subscriber")).await;
            assert_eq!(subscriber.subscribe("a/+", wanted).await, wanted);
            for qos in 0..=2 {
                publisher.publish_fully("a/b", &format!("{qos}"), qos).await;
                let message = subscriber.message().await;
                assert_eq!(message.qos, qos.min(wanted));
                assert_eq!(message.text(), format!("{qos}"));
                assert!(!message.retain && !message.dup);
            }
            subscriber.leave().await;
        }
        publisher.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn retained_messages_are_kept_replaced_and_cleared() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "one")).await;
        for (qos, topic) in ["r/0", "r/1", "r/2"].iter().enumerate() {
            let qos = u8::try_from(qos).unwrap();
            client
                .publish(Publish::new(topic, "old").qos(0, 0).retain())
                .await;
            let id = client.id();
            client
                .publish(Publish::new(topic, "new").qos(qos, id).retain())
                .await;
            if qos > 0 {
                client.next().await;
            }
        }
        client.send(&wire::answer(6, 3)).await;
        client.expect_answer(7, 3).await;
        let mut other = broker.connect(Connect::new(level, "two")).await;
        assert_eq!(other.subscribe("r/+", 2).await, 2);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let message = other.message().await;
            assert!(message.retain);
            assert_eq!(message.text(), "new");
            seen.push((message.topic, message.qos));
        }
        seen.sort();
        let expected = [("r/0", 0), ("r/1", 1), ("r/2", 2)].map(|(t, q)| (t.to_owned(), q));
        assert_eq!(seen, expected);
        for topic in ["r/0", "r/1", "r/2"] {
            client.publish(Publish::new(topic, "").retain()).await;
            // Passed on to those who are subscribed, as a message like others.
            let message = other.message().await;
            assert!(message.payload.is_empty() && !message.retain);
        }
        let mut third = broker.connect(Connect::new(level, "three")).await;
        third.subscribe("r/+", 2).await;
        third.expect_silence().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_client_identifier_gets_one_if_the_session_is_clean() {
    let broker = TestBroker::start().await;
    let (mut client, code, _) = broker.try_connect(Connect::new(V4, "").resume()).await;
    assert_eq!(code, 2);
    assert_eq!(client.next_or_end().await, None);
    let (_, code, _) = broker.try_connect(Connect::new(V4, "")).await;
    assert_eq!(code, 0);
    for connect in [Connect::new(V5, ""), Connect::new(V5, "").resume()] {
        let mut client = broker.dial(V5).await;
        client.send(&connect.bytes()).await;
        let Packet::ConnAck { code, props, .. } = client.next().await else {
            panic!("no CONNACK");
        };
        assert_eq!(code, 0);
        let assigned = props.string(0x12).expect("no assigned client identifier");
        let known = |id: &str| broker.handle.sessions().iter().any(|s| &*s.client_id == id);
        assert!(known(&assigned));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_for_an_absent_client_wait_in_order() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let name = format!("sleeper-{level}");
        let mut sleeper = broker
            .connect(Connect::new(level, &name).persistent())
            .await;
        sleeper.subscribe("q/#", 2).await;
        sleeper.leave().await;
        broker
            .until_heard(&format!("disconnected {name}: client disconnected"))
            .await;
        let mut publisher = broker.connect(Connect::new(level, "publisher")).await;
        for qos in 0..=2 {
            publisher.publish_fully("q/x", &format!("{qos}"), qos).await;
        }
        let (mut sleeper, _, present) = broker
            .try_connect(Connect::new(level, &name).persistent())
            .await;
        assert!(present);
        // QoS 0 is not kept for those who are away.
        for qos in 1..=2 {
            let message = sleeper.message().await;
            assert_eq!(
                (message.qos, message.text()),
                (qos, format!("{qos}").as_str())
            );
            assert!(!message.dup, "it was never sent before");
        }
        sleeper.ping().await;
        sleeper.leave().await;
        publisher.leave().await;
        let (_, _, present) = broker.try_connect(Connect::new(level, &name)).await;
        assert!(!present, "a clean start has no session before it");
    }
}

#[tokio::test(start_paused = true)]
async fn the_will_comes_when_the_client_goes_without_a_word() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut watcher = broker.connect(Connect::new(level, "watcher")).await;
        watcher.subscribe("w/#", 2).await;
        let mut connect = Connect::new(level, "dying").will("w/x", "gone");
        connect.will.as_mut().unwrap().retain = true;
        let dying = broker.connect(connect).await;
        drop(dying);
        let message = watcher.message().await;
        assert_eq!(
            (message.text(), message.qos, message.retain),
            ("gone", 1, false)
        );
        let mut late = broker.connect(Connect::new(level, "late")).await;
        late.subscribe("w/x", 1).await;
        assert!(late.message().await.retain);
        watcher.publish(Publish::new("w/x", "").retain()).await;
        assert!(watcher.message().await.payload.is_empty());
        let polite = Connect::new(level, "polite").will("w/x", "gone");
        broker.connect(polite).await.leave().await;
        watcher.expect_silence().await;
        watcher.leave().await;
    }
    assert_eq!(broker.hooks.count("will dying w/x gone"), 2);
}

#[tokio::test(start_paused = true)]
async fn overlapping_subscriptions_make_one_delivery_with_the_highest_qos() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "c")).await;
        client.subscribe("o/#", 2).await;
        client.subscribe("o/+", 1).await;
        client.subscribe("o/x", 0).await;
        client.publish_fully_and_take("o/x", "once").await;
        client.expect_silence().await;
    }
}

impl crate::harness::Client {
    /// Publishes with QoS 2 to itself; acknowledgements and message interleave.
    async fn publish_fully_and_take(&mut self, topic: &str, payload: &str) {
        let id = 99;
        self.publish(Publish::new(topic, payload).qos(2, id)).await;
        self.expect_answer(5, id).await;
        let message = self.message().await;
        assert_eq!((message.text(), message.qos), (payload, 2));
        self.send(&wire::answer(6, id)).await;
        self.expect_answer(7, id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_dropped_after_one_and_a_half_keep_alives() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut watcher = broker.connect(Connect::new(level, "watcher")).await;
        watcher.subscribe("k/#", 1).await;
        let silent = Connect::new(level, "silent")
            .keep_alive(1)
            .will("k/x", "late");
        let since = tokio::time::Instant::now();
        let mut silent = broker.connect(silent).await;
        assert_eq!(watcher.message().await.text(), "late");
        let elapsed = since.elapsed();
        assert!(elapsed >= Duration::from_millis(1500), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(2500), "{elapsed:?}");
        silent.expect_end(0x8D).await;
        watcher.leave().await;
    }
    assert!(
        broker
            .hooks
            .heard("disconnected silent: keep-alive timeout")
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_is_sent_again_after_a_reconnect() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "c").persistent()).await;
        client.subscribe("d/#", 2).await;
        let mut publisher = broker.connect(Connect::new(level, "publisher")).await;
        publisher.publish_fully("d/1", "one", 1).await;
        publisher.publish_fully("d/2", "two", 2).await;
        publisher.publish_fully("d/3", "three", 2).await;
        let first = [
            client.raw_message().await,
            client.raw_message().await,
            client.raw_message().await,
        ];
        // The third is received, but not completed.
        client.send(&wire::answer(5, first[2].id)).await;
        client.expect_answer(6, first[2].id).await;
        drop(client);
        broker
            .until("connection lost", |b| {
                b.handle.sessions().iter().any(|s| s.number.is_none())
            })
            .await;
        let (mut client, _, present) = broker
            .try_connect(Connect::new(level, "c").persistent())
            .await;
        assert!(present);
        for old in first.iter().take(2) {
            let again = client.raw_message().await;
            assert!(again.dup);
            assert_eq!((&again.topic, again.id), (&old.topic, old.id));
        }
        client.expect_answer(6, first[2].id).await;
        client.send(&wire::answer(4, first[0].id)).await;
        client.send(&wire::answer(5, first[1].id)).await;
        client.expect_answer(6, first[1].id).await;
        client.send(&wire::answer(7, first[1].id)).await;
        client.send(&wire::answer(7, first[2].id)).await;
        client.ping().await;
        assert!(
            broker
                .handle
                .sessions()
                .iter()
                .all(|session| session.inflight == 0)
        );
        // Leave nothing for the next round.
        client.leave().await;
        broker.connect(Connect::new(level, "c")).await.leave().await;
        publisher.leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn dollar_topics_are_out_of_reach_of_leading_wildcards() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V4, "c")).await;
    client.subscribe("#", 1).await;
    client.subscribe("+/x", 1).await;
    client.publish_fully("$SYS/x", "hidden", 1).await;
    client.expect_silence().await;
    client.subscribe("$SYS/+", 1).await;
    client.publish(Publish::new("$SYS/x", "seen")).await;
    assert_eq!(client.message().await.text(), "seen");
}

#[tokio::test(start_paused = true)]
async fn an_ended_subscription_brings_nothing_more() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let mut client = broker.connect(Connect::new(level, "c")).await;
        client.subscribe("u/a", 1).await;
        client.subscribe("u/+/#", 1).await;
        client
            .send(&wire::unsubscribe(level, 8, &["u/a", "u/b"]))
            .await;
        let codes = if level == V4 { vec![] } else { vec![0, 0x11] };
        assert_eq!(client.next().await, Packet::UnsubAck { id: 8, codes });
        client
            .publish(Publish::new("u/a", "still by the other"))
            .await;
        client.message().await;
        client.send(&wire::unsubscribe(level, 9, &["u/+/#"])).await;
        client.next().await;
        client.publish(Publish::new("u/a", "no")).await;
        client.ping().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_qos_2_publication_is_handed_on_once() {
    let broker = TestBroker::start().await;
    for level in [V4, V5] {
        let before = broker.hooks.count("publish");
        let mut client = broker.connect(Connect::new(level, "c").persistent()).await;
        client.publish(Publish::new("t", "x").qos(2, 5)).await;
        client.expect_answer(5, 5).await;
        client.publish(Publish::new("t", "x").qos(2, 5).dup()).await;
        client.expect_answer(5, 5).await;
        drop(client);
        broker
            .until("gone", |b| b.handle.stats().connections == 0)
            .await;
        let mut client = broker.connect(Connect::new(level, "c").persistent()).await;
        client.publish(Publish::new("t", "x").qos(2, 5).dup()).await;
        client.expect_answer(5, 5).await;
        client.send(&wire::answer(6, 5)).await;
        client.expect_answer(7, 5).await;
        assert_eq!(broker.hooks.count("publish"), before + 1);
        client.publish(Publish::new("t", "y").qos(2, 5)).await;
        client.expect_answer(5, 5).await;
        assert_eq!(broker.hooks.count("publish"), before + 2);
        client.leave().await;
        broker.connect(Connect::new(level, "c")).await.leave().await;
    }
}

#[tokio::test]
async fn bytes_right_behind_connect_are_taken() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    for level in [V4, V5] {
        let mut client = broker.dial(level).await;
        let mut bytes = Connect::new(level, "c").bytes();
        bytes.extend(wire::subscribe(level, 1, &[("p", 1)], &wire::Props::none()));
        bytes.extend(Publish::new("p", "early").qos(1, 2).bytes(level));
        bytes.extend([0xC0, 0]);
        client.send(&bytes).await;
        assert!(matches!(
            client.next().await,
            Packet::ConnAck { code: 0, .. }
        ));
        assert!(matches!(client.next().await, Packet::SubAck { .. }));
        let mut rest = [
            client.next().await,
            client.next().await,
            client.next().await,
        ];
        rest.sort_by_key(|packet| format!("{packet:?}"));
        assert!(matches!(rest[0], Packet::Answer { kind: 4, id: 2, .. }));
        assert!(matches!(rest[1], Packet::Pong));
        assert!(matches!(rest[2], Packet::Publish(_)));
    }
}
