//! Batches: paced, bounded, each target with its result.

use super::*;
use crate::command::{ItemResult, Refusal};

fn batch(targets: &[(u32, u64)]) -> BatchRequest {
    let target = |&(device, socket): &(u32, u64)| (device_id(device), socket_id(socket));
    BatchRequest {
        targets: targets.iter().map(target).collect(),
        location: None,
        order: Order::new(Action::Off, None, None).unwrap(),
        on_pending: OnPending::Refuse,
        send_offline: false,
        origin: ann(),
        key: None,
    }
}

impl World {
    async fn start(&mut self, request: BatchRequest) -> Result<BatchId, SendError> {
        let dispatcher = self.dispatcher.clone();
        let (started, ()) = tokio::join!(dispatcher.start_batch(request), self.commands.turn());
        started.map(|it| it.id)
    }

    async fn results(&self, id: BatchId) -> Vec<String> {
        let report = self.store.inner.batch(id).await.unwrap().unwrap();
        let name = |result: &ItemResult| match result {
            ItemResult::Waiting => "waiting".to_owned(),
            ItemResult::Refused(refusal) => refusal.name().to_owned(),
            ItemResult::Sent(command) => format!("{:?}", command.progress.state.name()),
        };
        report.results.iter().map(name).collect()
    }

    async fn ack_all(&mut self) {
        let published: Vec<_> = std::mem::take(&mut *self.sink.published.lock().unwrap());
        for command in published {
            let id = command.body.cmd_id;
            self.ack(command.device.0, id, AckStatus::Success).await;
        }
    }
}

#[tokio::test]
async fn every_target_gets_a_result() {
    let mut world = World::new();
    world.fleet.offline.lock().unwrap().insert(DeviceKey(2));
    world.sent(3, 0, Action::On).await;
    let id = world
        .start(batch(&[(1, 1), (2, 1), (3, 1), (4, 0)]))
        .await
        .unwrap();
    world.fleet.gone.lock().unwrap().insert(DeviceKey(4));
    world.advance(Duration::ZERO).await;
    let results = world.results(id).await;
    assert_eq!(
        results,
        [
            "Pending",
            "device-offline",
            "command-pending",
            "unknown-device"
        ]
    );
    world.ack_all().await;
    assert_eq!(world.results(id).await[0], "Success");
}

#[tokio::test]
async fn one_strip_is_paced_and_never_refused_for_rate() {
    let mut world = World::new();
    let id = world
        .start(batch(&[(1, 1), (1, 2), (1, 3), (1, 4)]))
        .await
        .unwrap();
    world.advance(Duration::ZERO).await;
    assert_eq!(world.published(), 3);
    world.advance(Duration::from_millis(999)).await;
    assert_eq!(world.published(), 3);
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(world.published(), 4);
    world.ack_all().await;
    assert_eq!(world.results(id).await, ["Success"; 4]);
}

#[tokio::test]
async fn no_more_than_64_are_pending_at_once() {
    let mut world = World::new();
    let everyone = BatchRequest {
        targets: Vec::new(),
        location: Some("A".into()),
        ..batch(&[])
    };
    let id = world.start(everyone).await.unwrap();
    world.advance(Duration::ZERO).await;
    assert_eq!(world.commands.pending(), 64);
    // As verdicts come in, the others go out.
    world.ack_all().await;
    world.advance(Duration::ZERO).await;
    assert_eq!(world.commands.pending(), 36);
    world.advance(Duration::from_secs(6)).await;
    let results = world.results(id).await;
    let count = |name: &str| results.iter().filter(|it| *it == name).count();
    assert_eq!((count("Success"), count("Timeout")), (64, 36));
    assert_eq!(world.commands.next_due(), None, "nothing is left to do");
}

#[tokio::test]
async fn a_key_starts_one_batch() {
    let mut world = World::new();
    let keyed = || BatchRequest {
        key: Some(("user:ann".into(), "k".into())),
        ..batch(&[(1, 1)])
    };
    let first = world.start(keyed()).await.unwrap();
    assert_eq!(world.start(keyed()).await.unwrap(), first);
    let other = BatchRequest {
        targets: vec![(device_id(1), socket_id(2))],
        ..keyed()
    };
    assert!(matches!(
        world.start(other).await,
        Err(SendError::KeyReused)
    ));
    let command = SendRequest {
        key: Some(("user:ann".into(), "k".into())),
        ..request(1, 1, Action::Off)
    };
    assert!(matches!(
        world.send(command).await,
        Err(SendError::KeyReused)
    ));
}

#[tokio::test]
async fn a_restart_interrupts_what_had_not_been_sent() {
    let mut world = World::new();
    let id = world
        .start(batch(&[(1, 1), (1, 2), (1, 3), (1, 4)]))
        .await
        .unwrap();
    world.advance(Duration::ZERO).await;
    world.restart().await;
    world.advance(Duration::from_secs(6)).await;
    let interrupted = Refusal::Interrupted.name();
    let expected = ["Timeout", "Timeout", "Timeout", interrupted];
    assert_eq!(world.results(id).await, expected);
}

#[tokio::test]
async fn a_store_that_fails_delays_a_batch_and_loses_none_of_it() {
    let mut world = World::new();
    let id = world.start(batch(&[(1, 1), (2, 1)])).await.unwrap();
    world.store.fails.store(true, Ordering::Relaxed);
    world.advance(Duration::from_secs(1)).await;
    assert_eq!(world.published(), 0);
    world.store.fails.store(false, Ordering::Relaxed);
    world.advance(Duration::from_secs(1)).await;
    world.ack_all().await;
    assert_eq!(world.results(id).await, ["Success"; 2]);
}

#[tokio::test]
async fn bad_batches_are_refused_whole() {
    let mut world = World::new();
    let refused = [
        batch(&[]),
        batch(&[(1, 1), (101, 1)]),
        batch(&[(1, 1), (1, 9)]),
        batch(&[(1, 1), (1, 1)]),
        batch(&[(1, 1), (1, 0)]),
        batch(&[(1, 0), (1, 1)]),
    ];
    for request in refused {
        assert!(world.dispatcher.start_batch(request).await.is_err());
    }
    for _ in 0..32 {
        world.start(batch(&[(1, 1), (1, 2)])).await.unwrap();
    }
    let refused = world.start(batch(&[(2, 1)])).await;
    assert!(matches!(refused, Err(SendError::Overloaded)));
}
