//! Any order of events leaves the broker in order: nothing leaks, nothing that
//! was promised is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use dormouse_broker::{KickReason, Message, QoS};
use proptest::prelude::*;

use crate::harness::{Client, TestBroker};
use crate::wire::{self, Connect, Packet, Publish, V4, V5};

const CLIENTS: usize = 4;
const TOPICS: [&str; 3] = ["t/0", "t/1", "u/0"];
const FILTERS: [&str; 5] = ["t/0", "t/+", "#", "$share/g/t/#", "u/0"];

#[derive(Debug, Clone)]
enum Step {
    Connect {
        client: usize,
        level: u8,
        persistent: bool,
        will: bool,
    },
    Leave(usize),
    Drop(usize),
    Kick(usize, bool),
    Subscribe(usize, usize, u8),
    Unsubscribe(usize, usize),
    Publish(usize, usize, u8, bool),
    PublishInside(usize, u8, bool),
    Read(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (client, topic, filter, qos) = (0..CLIENTS, 0..TOPICS.len(), 0..FILTERS.len(), 0..3_u8);
    let level = prop_oneof![Just(V4), Just(V5)];
    prop_oneof![
        4 => (client.clone(), level, any::<bool>(), any::<bool>()).prop_map(
            |(client, level, persistent, will)| Step::Connect { client, level, persistent, will }
        ),
        1 => client.clone().prop_map(Step::Leave),
        2 => client.clone().prop_map(Step::Drop),
        1 => (client.clone(), any::<bool>()).prop_map(|(client, revoke)| Step::Kick(client, revoke)),
        4 => (client.clone(), filter.clone(), qos.clone()).prop_map(|(c, f, q)| Step::Subscribe(c, f, q)),
        1 => (client.clone(), filter).prop_map(|(c, f)| Step::Unsubscribe(c, f)),
        5 => (client.clone(), topic.clone(), qos.clone(), any::<bool>())
            .prop_map(|(c, t, q, retain)| Step::Publish(c, t, q, retain)),
        3 => (topic, qos, any::<bool>()).prop_map(|(t, q, deadline)| Step::PublishInside(t, q, deadline)),
        3 => client.prop_map(Step::Read),
        1 => (0..3_000_u64).prop_map(Step::Wait),
    ]
}

/// The clients of one run, by number.
type Clients = BTreeMap<usize, Client>;

async fn apply(broker: &TestBroker, clients: &mut Clients, step: Step) {
    match step {
        Step::Connect {
            client,
            level,
            persistent,
            will,
        } => {
            // Odd clients have exclusive identities.
            let owner = if client % 2 == 0 { "owner" } else { "device-x" };
            let mut connect = Connect::new(level, &format!("c{client}")).login(owner, "secret");
            if persistent {
                connect = connect.persistent();
            }
            if will {
                connect = connect.will(TOPICS[2], "will");
            }
            let (connected, code, _) = broker.try_connect(connect).await;
            if code == 0 {
                clients.insert(client, connected);
            }
        }
        Step::Leave(client) => {
            if let Some(mut client) = clients.remove(&client) {
                let _ = client.try_send(&[0xE0, 0]).await;
            }
        }
        Step::Drop(client) => drop(clients.remove(&client)),
        Step::Kick(client, revoke) => {
            let owner = if client % 2 == 0 { "owner" } else { "device-x" };
            let reason = if revoke {
                KickReason::Revoked
            } else {
                KickReason::Administrative
            };
            let _ = broker.handle.kick(owner, reason);
            // The revocation reaches who connected at the same instant.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Step::PublishInside(topic, qos, deadline) => {
            let qos = QoS::from_level(qos).unwrap();
            let mut message = Message::new(TOPICS[topic], "inside").qos(qos);
            if deadline {
                message = message.ack_deadline(Duration::from_secs(1));
            }
            broker.handle.publish(message).unwrap();
        }
        Step::Wait(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
        Step::Subscribe(client, ..)
        | Step::Unsubscribe(client, _)
        | Step::Publish(client, ..)
        | Step::Read(client) => {
            if let Some(client) = clients.get_mut(&client) {
                talk(client, step).await;
            }
        }
    }
}

/// What one client sends; it may have been cut off without knowing.
async fn talk(client: &mut Client, step: Step) {
    let (id, level) = (client.id(), client.level);
    let bytes = match step {
        Step::Subscribe(_, filter, qos) => {
            wire::subscribe(level, id, &[(FILTERS[filter], qos)], &wire::Props::none())
        }
        Step::Unsubscribe(_, filter) => wire::unsubscribe(level, id, &[FILTERS[filter]]),
        Step::Publish(_, topic, qos, retain) => {
            let mut publish =
                Publish::new(TOPICS[topic], "x").qos(qos, if qos == 0 { 0 } else { id });
            publish.retain = retain;
            publish.bytes(level)
        }
        _ => {
            // Answers whatever has come.
            while let Some(packet) = client.next_within(Duration::from_millis(1)).await {
                let answer = match packet {
                    Packet::Publish(publish) if publish.qos == 1 => wire::answer(4, publish.id),
                    Packet::Publish(publish) if publish.qos == 2 => wire::answer(5, publish.id),
                    Packet::Answer { kind: 5, id, .. } => wire::answer(6, id),
                    Packet::Answer { kind: 6, id, .. } => wire::answer(7, id),
                    _ => continue,
                };
                if client.try_send(&answer).await.is_err() {
                    return;
                }
            }
            return;
        }
    };
    let _ = client.try_send(&bytes).await;
}

async fn run(steps: Vec<Step>) {
    let broker = TestBroker::start().await;
    let mut clients = Clients::new();
    for step in steps {
        apply(&broker, &mut clients, step).await;
    }
    // Whoever is in flight is heard; then everybody goes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(clients);
    broker
        .until("all gone", |b| b.handle.stats().connections == 0)
        .await;
    for owner in ["owner", "device-x"] {
        assert_eq!(broker.handle.kick(owner, KickReason::Revoked), 0);
    }
    assert!(broker.handle.sessions().is_empty());
    let stats = broker.handle.stats();
    assert_eq!(
        (stats.panics, stats.sessions, stats.queued_bytes),
        (0, 0, 0),
        "{stats:?}"
    );
    // No subscription is left.
    for topic in TOPICS {
        let delivery = broker
            .handle
            .publish(Message::new(topic, "x").qos(QoS::ExactlyOnce))
            .unwrap();
        assert_eq!(
            (delivery.live, delivery.queued, delivery.dropped),
            (0, 0, 0)
        );
    }
    let connected = broker.hooks.count("connected");
    assert_eq!(
        connected,
        broker.hooks.count("disconnected"),
        "each connection ends once"
    );
    assert_eq!(broker.stop().await, Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_leaks_whatever_happens(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(run(steps));
    }
}
