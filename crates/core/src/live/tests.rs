use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::clock::Timestamp;
use crate::ids::{DeviceId, SocketId};
use crate::memory::MemoryDirectory;
use crate::sample::{Sample, Values};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn sample(ts: i64) -> Sample {
    Sample {
        socket: SocketId::STRIP,
        ts: Timestamp::from_millis(ts),
        values: Values {
            power_dw: Some(10),
            ..Values::default()
        },
    }
}

fn hub() -> Arc<LiveHub> {
    let directory = MemoryDirectory::default();
    directory.add("a", "A/3/302");
    directory.add("b", "A/31/3102");
    Arc::new(LiveHub::new(Arc::new(directory)))
}

fn topics(texts: &[&str]) -> Vec<Topic> {
    texts
        .iter()
        .map(|text| Topic::parse(text).unwrap())
        .collect()
}

/// A watcher whose snapshot has been sent.
async fn watcher(hub: &Arc<LiveHub>, texts: &[&str]) -> Subscription {
    let subscription = hub.watch().unwrap();
    subscription.subscribe(topics(texts));
    assert_eq!(subscription.next(10).await, Drained::Gap);
    subscription
}

/// The devices in the order in which they are told of.
async fn told(subscription: &Subscription) -> Vec<String> {
    let Drained::Messages(messages) = subscription.next(100).await else {
        panic!("messages were lost");
    };
    messages
        .iter()
        .map(|message| {
            let message: Value = serde_json::from_slice(message).unwrap();
            message["deviceId"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn each_watcher_hears_what_it_watches_and_hears_it_once() {
    let hub = hub();
    let fleet = watcher(&hub, &["fleet", "device:a", "fleet"]).await;
    let one = watcher(&hub, &["device:a"]).await;
    let place = watcher(&hub, &["location:A/3"]).await;
    let other = watcher(&hub, &["device:b", "events"]).await;
    hub.telemetry(&id("a"), &[sample(1)]);
    hub.telemetry(&id("b"), &[sample(2)]);
    assert_eq!(told(&fleet).await, ["a", "b"]);
    assert_eq!(told(&one).await, ["a"]);
    assert_eq!(told(&place).await, ["a"]);
    assert_eq!(told(&other).await, ["b"]);
}

#[tokio::test]
async fn every_place_hears_of_a_device_that_is_gone_or_moved() {
    let hub = hub();
    let here = watcher(&hub, &["location:A/3", "device:a"]).await;
    let there = watcher(&hub, &["location:B"]).await;
    hub.publish(&LiveMessage::Removed(RemovedMessage { device_id: id("a") }));
    assert_eq!(told(&here).await, ["a"]);
    assert_eq!(told(&there).await, ["a"]);
}

#[tokio::test]
async fn nobody_wants_what_nobody_watches() {
    let hub = hub();
    assert!(!hub.wants(&id("a")));
    let subscription = watcher(&hub, &["device:a", "events"]).await;
    assert!(hub.wants(&id("a")));
    assert!(!hub.wants(&id("b")));
    assert!(!hub.wants_fleet());
    drop(subscription);
    assert!(!hub.wants(&id("a")));
    assert_eq!(hub.watchers(), 0);
}

#[tokio::test]
async fn a_new_subscription_takes_the_place_of_the_old_one() {
    let hub = hub();
    let subscription = watcher(&hub, &["device:a"]).await;
    hub.telemetry(&id("a"), &[sample(1)]);
    subscription.subscribe(topics(&["device:b"]));
    assert_eq!(subscription.next(10).await, Drained::Gap);
    hub.telemetry(&id("a"), &[sample(2)]);
    hub.telemetry(&id("b"), &[sample(3)]);
    assert_eq!(told(&subscription).await, ["b"]);
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_holds_only_the_newest_of_each_device() {
    let hub = hub();
    let slow = watcher(&hub, &["fleet"]).await;
    let quick = watcher(&hub, &["fleet"]).await;
    for ts in 0..100_000 {
        hub.telemetry(&id("a"), &[sample(ts)]);
        if ts % 10_000 == 0 {
            assert_eq!(told(&quick).await, ["a"]);
        }
    }
    let Drained::Messages(messages) = slow.next(100).await else {
        panic!("messages were lost");
    };
    let [message] = messages.as_slice() else {
        panic!("{} messages wait", messages.len());
    };
    let message: Value = serde_json::from_slice(message).unwrap();
    assert_eq!(message["samples"][0]["ts"], 99_999);
}

#[tokio::test]
async fn too_many_watchers_are_refused_and_a_place_that_is_left_is_free() {
    let hub = hub();
    let mut all: Vec<_> = std::iter::from_fn(|| hub.watch().ok()).collect();
    assert_eq!(hub.watch().unwrap_err(), TooManyWatchers);
    assert!(all.pop().is_some());
    assert!(hub.watch().is_ok());
}
