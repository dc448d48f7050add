//! What the hooks forbid.

use crate::harness::TestBroker;
use crate::wire::{self, Connect, Packet, Publish, V4, V5};

#[tokio::test(start_paused = true)]
async fn a_denied_subscription_fails_and_nobody_is_disconnected() {
    let broker = TestBroker::start().await;
    broker.hooks.deny("test/nosubscribe");
    for (level, code) in [(V4, 0x80), (V5, 0x87)] {
        let mut client = broker.connect(Connect::new(level, "c")).await;
        let props = wire::Props::none();
        let filters = [("test/nosubscribe", 1), ("ok", 1), ("bad/#/filter", 1)];
        client
            .send(&wire::subscribe(level, 7, &filters, &props))
            .await;
        let bad = if level == V4 { 0x80 } else { 0x8F };
        let codes = vec![code, 1, bad];
        assert_eq!(client.next().await, Packet::SubAck { id: 7, codes });
        client.ping().await;
    }
    assert_eq!(broker.hooks.count("subscribed c ok"), 2);
    assert_eq!(broker.hooks.count("subscribed"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_denied_publication_is_swallowed_and_nobody_is_disconnected() {
    let broker = TestBroker::start().await;
    broker.hooks.deny("secret");
    for (level, reason) in [(V4, 0), (V5, 0x87)] {
        let mut watcher = broker.connect(Connect::new(level, "w")).await;
        watcher.subscribe("#", 1).await;
        let mut client = broker.connect(Connect::new(level, "c")).await;
        client.publish(Publish::new("secret", "0").retain()).await;
        client
            .publish(Publish::new("secret", "1").qos(1, 5).retain())
            .await;
        let expected = Packet::Answer {
            kind: 4,
            id: 5,
            reason,
        };
        assert_eq!(client.next().await, expected);
        client.publish(Publish::new("secret", "2").qos(2, 6)).await;
        assert_eq!(
            client.next().await,
            Packet::Answer {
                kind: 5,
                id: 6,
                reason
            }
        );
        if level == V4 {
            client.send(&wire::answer(6, 6)).await;
            client.expect_answer(7, 6).await;
        }
        client.ping().await;
        watcher.expect_silence().await;
        watcher.leave().await;
    }
    assert_eq!(broker.hooks.count("publish"), 0);
    assert_eq!(broker.handle.stats().denied_publish, 6);
    assert_eq!(broker.handle.stats().retained, 0);
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_refused_in_either_version() {
    let broker = TestBroker::start().await;
    for (level, expected) in [(V4, 4), (V5, 0x86)] {
        let connect = Connect::new(level, "c").login("someone", "wrong");
        let (mut client, code, _) = broker.try_connect(connect).await;
        assert_eq!(code, expected);
        assert_eq!(client.next_or_end().await, None);
    }
    assert!(broker.handle.sessions().is_empty());
}
