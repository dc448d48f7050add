//! The contract of [`IntakeStore`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a contract's failure is a test's failure"
)]

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::device::{DeviceSettings, DeviceState, Reported};
use crate::event::{Event, EventType, Origin, Severity};
use crate::ids::{DeviceId, DeviceKey, EventId, SocketId};
use crate::ports::history::{EARLIEST, HistoryStore, LATEST, SeriesId};
use crate::ports::intake::{IntakeBatch, IntakeStore, RefusedMessage, StoredInbox};
use crate::ports::journal::JournalPosition;
use crate::ports::{
    DeviceAccess, DeviceStore, DeviceWrites, EventQuery, EventStore, NewDevice, Written,
};
use crate::sample::{DeviceSample, Sample, Values};

/// The way in, and the stores in which to see what came in.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "stores need not have it")]
pub struct IntakeStores {
    /// What is tested.
    pub intake: Arc<dyn IntakeStore>,
    /// Where samples go.
    pub history: Arc<dyn HistoryStore>,
    /// Where events go.
    pub events: Arc<dyn EventStore>,
    /// Where reports go.
    pub devices: Arc<dyn DeviceStore>,
}

/// The contract of an [`IntakeStore`], on empty stores from `open`.
///
/// # Panics
/// Where a store breaks the contract.
pub async fn intake_store(open: impl AsyncFn() -> IntakeStores) {
    everything_of_a_batch_is_kept(&open().await).await;
    nothing_is_kept_of_what_is_not_committed(&open().await).await;
    all_again_changes_nothing(&open().await).await;
    an_older_report_changes_nothing(&open().await).await;
    what_is_not_held_is_refused(&open().await).await;
    a_rehearsal_keeps_nothing(&open().await).await;
    what_is_refused_is_put_aside_once(&open().await).await;
    what_is_aside_is_taken_up_once(&open().await).await;
}

/// What an [`IntakeStore`] must do for several nodes at once.
///
/// # Panics
/// Where a store breaks the contract.
pub async fn intake_store_of_nodes(open: impl AsyncFn() -> IntakeStores) {
    a_device_is_held_until_the_end(&open().await).await;
    a_dropped_transaction_lets_go(&open().await).await;
}

async fn everything_of_a_batch_is_kept(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    assert_eq!(stores.intake.position(9).await.unwrap(), None);
    let mut first = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
    assert_eq!(first.changed(), []);
    first.commit(batch(a, 1, b"one")).await.unwrap();
    assert_kept(stores, a, 1).await;
    assert_eq!(stores.intake.position(8).await.unwrap(), None);
    let position = stores.intake.position(9).await.unwrap();
    assert_eq!(position, Some(at_byte(1)));

    let mut second = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
    let inbox = |bytes: &[u8], version| StoredInbox {
        device: a,
        version,
        bytes: bytes.into(),
    };
    assert_eq!(second.changed(), [inbox(b"one", 1)]);
    assert_eq!(second.changed(), []);
    second.commit(batch(a, 2, b"")).await.unwrap();
    assert_kept(stores, a, 2).await;
    assert_eq!(stores.intake.position(9).await.unwrap(), Some(at_byte(2)));

    let mut known = stores.intake.begin(&[(a, 2), (b, 0)]).await.unwrap();
    assert_eq!(known.changed(), []);
    // A batch without an inbox leaves its version as it is.
    let bare = IntakeBatch {
        inboxes: Vec::new(),
        ..batch(b, 3, b"")
    };
    known.commit(bare).await.unwrap();
    let mut last = stores.intake.begin(&[(a, 1), (b, 0)]).await.unwrap();
    assert_eq!(last.changed(), [inbox(b"", 2)]);
    last.commit(IntakeBatch::default()).await.unwrap();
}

async fn nothing_is_kept_of_what_is_not_committed(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    drop(stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap());
    let mut again = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
    assert_eq!(again.changed(), []);
    drop(again);
    assert_kept(stores, a, 0).await;
}

async fn all_again_changes_nothing(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    for _ in 0..2 {
        let transaction = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
        transaction.commit(batch(a, 1, b"one")).await.unwrap();
    }
    assert_kept(stores, a, 1).await;
}

async fn an_older_report_changes_nothing(stores: &IntakeStores) {
    let (a, _) = two_devices(stores).await;
    for (received, expected) in [(50, 50), (40, 50), (60, 60)] {
        let transaction = stores.intake.begin(&[(a, 0)]).await.unwrap();
        let reports = vec![(a, report(received))];
        let batch = IntakeBatch {
            reports,
            ..IntakeBatch::default()
        };
        transaction.commit(batch).await.unwrap();
        assert_eq!(last_report(stores, a).await, Some(report(expected)));
    }
}

async fn what_is_not_held_is_refused(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    let transaction = stores.intake.begin(&[(a, 0)]).await.unwrap();
    transaction.commit(batch(b, 1, b"one")).await.unwrap_err();
    assert_kept(stores, b, 0).await;
    let mut next = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
    assert_eq!(next.changed(), []);
    next.commit(batch(b, 1, b"one")).await.unwrap();
    assert_kept(stores, b, 1).await;
}

async fn a_rehearsal_keeps_nothing(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    let rehearsal = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
    let all = IntakeBatch {
        refused: vec![refused(b, b"bad", "bad")],
        ..batch(a, 1, b"one")
    };
    rehearsal.rehearse(all).await.unwrap();
    assert_kept(stores, a, 0).await;
    assert_eq!(stores.intake.refused().await.unwrap(), 0);
    assert_eq!(stores.intake.position(9).await.unwrap(), None);
    let wrong = stores.intake.begin(&[(a, 0)]).await.unwrap();
    let outcome = wrong.rehearse(batch(b, 1, b"one")).await;
    assert!(outcome.unwrap_err().is_of_the_data());
    let mut next = stores.intake.begin(&[(a, 0), (b, 0)]).await.unwrap();
    assert_eq!(next.changed(), []);
    next.commit(batch(a, 1, b"one")).await.unwrap();
    assert_kept(stores, a, 1).await;
}

async fn what_is_refused_is_put_aside_once(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    for n in 1..=2 {
        // Its device need not be held.
        let transaction = stores.intake.begin(&[(a, 0)]).await.unwrap();
        let all = IntakeBatch {
            refused: vec![refused(b, b"bad", "bad\0"), refused(b, b"worse", "bad")],
            ..batch(a, n, b"one")
        };
        transaction.commit(all).await.unwrap();
        assert_kept(stores, a, n).await;
        assert_eq!(stores.intake.refused().await.unwrap(), 2);
    }
    assert!(stores.intake.wanted_again(9).await.unwrap().is_empty());
}

async fn what_is_aside_is_taken_up_once(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    let transaction = stores.intake.begin(&[]).await.unwrap();
    let aside = IntakeBatch {
        refused: vec![refused(a, b"bad", "bad"), refused(b, b"worse", "bad")],
        ..IntakeBatch::default()
    };
    transaction.commit(aside).await.unwrap();
    for (n, taken) in [(1, true), (2, false)] {
        let transaction = stores.intake.begin(&[(a, 0)]).await.unwrap();
        let all = IntakeBatch {
            reclaimed: vec![b"bad"[..].into()],
            ..batch(a, n, b"one")
        };
        assert_eq!(transaction.commit(all).await.is_ok(), taken);
        assert_kept(stores, a, 1).await;
        assert_eq!(stores.intake.refused().await.unwrap(), 1);
    }
}

async fn a_device_is_held_until_the_end(stores: &IntakeStores) {
    let (a, b) = two_devices(stores).await;
    let first = stores.intake.begin(&[(a, 0)]).await.unwrap();
    let both = [(a, 0), (b, 0)];
    let mut second = Box::pin(stores.intake.begin(&both));
    // Others do not wait for it.
    let other = stores.intake.begin(&[(b, 0)]).await.unwrap();
    other.commit(batch(b, 1, b"b")).await.unwrap();
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "held by two at once");
    first.commit(batch(a, 1, b"a")).await.unwrap();
    let mut second = second.await.unwrap();
    let mut changed = second.changed();
    changed.sort_by_key(|it| it.device);
    let changed: Vec<_> = changed.iter().map(|it| &*it.bytes).collect();
    assert_eq!(changed, [b"a", b"b"]);
    second.commit(batch(a, 2, b"aa")).await.unwrap();
    assert_kept(stores, a, 2).await;
}

async fn a_dropped_transaction_lets_go(stores: &IntakeStores) {
    let (a, _) = two_devices(stores).await;
    let first = stores.intake.begin(&[(a, 0)]).await.unwrap();
    let again = [(a, 0)];
    let mut second = Box::pin(stores.intake.begin(&again));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "held by two at once");
    drop(first);
    second
        .await
        .unwrap()
        .commit(batch(a, 1, b"a"))
        .await
        .unwrap();
    assert_kept(stores, a, 1).await;
}

/// What message `n` of `device` leaves.
fn batch(device: DeviceKey, n: u8, inbox: &[u8]) -> IntakeBatch {
    IntakeBatch {
        samples: [0, 1].map(|socket| sample(device, socket, n)).to_vec(),
        inboxes: vec![(device, inbox.into())],
        events: vec![event(device, n)],
        reports: vec![(device, report(n.into()))],
        position: Some(at_byte(n.into())),
        ..IntakeBatch::default()
    }
}

fn refused(device: DeviceKey, entry: &[u8], why: &str) -> RefusedMessage {
    RefusedMessage {
        device,
        entry: entry.into(),
        shown: "{}".to_owned(),
        why: why.to_owned(),
    }
}

fn moment(n: i64) -> Timestamp {
    Timestamp::from_millis(EARLIEST.as_millis() + 1_000 + n)
}

fn at_byte(offset: u64) -> JournalPosition {
    JournalPosition { journal: 9, offset }
}

fn sample(device: DeviceKey, socket: u64, n: u8) -> DeviceSample {
    DeviceSample {
        device,
        sample: Sample {
            socket: SocketId::parse(socket).unwrap(),
            ts: moment(n.into()),
            values: Values {
                power_dw: Some(n.into()),
                ..Values::default()
            },
        },
    }
}

fn event(device: DeviceKey, n: u8) -> Event {
    Event {
        id: EventId(Uuid::from_u128(u128::from(device.0) << 8 | u128::from(n))),
        device: Some((device, DeviceId::parse("a").unwrap())),
        socket: None,
        kind: EventType::Device("hot".to_owned()),
        severity: Severity::Warning,
        ts: moment(n.into()),
        received_at: moment(n.into()),
        origin: Origin::Device,
        data: Value::Null,
    }
}

fn report(received: i64) -> Arc<Reported> {
    Arc::new(Reported {
        at: moment(received),
        ..Reported::default()
    })
}

async fn two_devices(stores: &IntakeStores) -> (DeviceKey, DeviceKey) {
    let new = |id: &str| NewDevice {
        id: DeviceId::parse(id).unwrap(),
        state: DeviceState::Active,
        settings: DeviceSettings::default(),
        access: DeviceAccess::None,
        created_at: moment(0),
    };
    let writes = DeviceWrites {
        insert: vec![new("a"), new("b")],
        swap: Vec::new(),
    };
    let written = stores.devices.write(writes).await.unwrap();
    let Written::All(stored) = written else {
        panic!("{written:?}");
    };
    (stored[0].device.key, stored[1].device.key)
}

/// Everything that messages 1 to `last` of `device` leave, and nothing else.
async fn assert_kept(stores: &IntakeStores, device: DeviceKey, last: u8) {
    for socket in [0, 1] {
        let expected: Vec<_> = (1..=last)
            .map(|n| sample(device, socket, n).sample)
            .collect();
        let socket = SocketId::parse(socket).unwrap();
        let series = SeriesId { device, socket };
        let kept = stores.history.samples(series, EARLIEST..LATEST, 99).await;
        assert_eq!(kept.unwrap(), expected);
    }
    let query = EventQuery {
        limit: 99,
        ..EventQuery::default()
    };
    let mut events = stores.events.list(&query).await.unwrap();
    events.retain(|it| it.device.as_ref().is_some_and(|(key, _)| *key == device));
    let expected: Vec<_> = (1..=last).rev().map(|n| event(device, n)).collect();
    assert_eq!(events, expected);
    let expected = (last > 0).then(|| report(last.into()));
    assert_eq!(last_report(stores, device).await, expected);
}

async fn last_report(stores: &IntakeStores, device: DeviceKey) -> Option<Arc<Reported>> {
    let all = stores.devices.changed_since(0).await.unwrap();
    let own = all.into_iter().find(|it| it.device.key == device).unwrap();
    own.device.reported
}
