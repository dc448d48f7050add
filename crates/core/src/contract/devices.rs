//! The contract of [`DeviceStore`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]
#![expect(clippy::panic, reason = "a contract's failure is a test's failure")]

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::device::{DeviceSettings, DeviceState, Reported, SocketState};
use crate::event::Origin;
use crate::ids::{DeviceId, SocketId};
use crate::ports::{DeviceAccess, DeviceStore, DeviceWrites, NewDevice, StoredDevice, Written};
use crate::secret::{DeviceDigest, Secret};

/// The contract of [`DeviceStore`], on an empty store.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn device_store(store: &dyn DeviceStore) {
    what_is_inserted_is_read_back(store).await;
    an_insertion_is_all_or_nothing(store).await;
    a_swap_needs_the_version_before(store).await;
    reports_stay_and_move_no_revision(store).await;
    joined_credentials_settle_once(store).await;
    a_deleted_id_is_free_and_its_key_is_not(store).await;
}

async fn what_is_inserted_is_read_back(store: &dyn DeviceStore) {
    assert_eq!(store.changed_since(0).await.unwrap(), []);
    let two = insert(store, vec![new("B-2"), new("a-1")]).await;
    assert_eq!(two[0].device.id, id("B-2"));
    assert_eq!(two[0].device.version, 1);
    assert_ne!(two[0].device.key, two[1].device.key);
    assert_eq!(store.changed_since(0).await.unwrap(), two);
    let last = two[0].revision;
    assert_eq!(store.changed_since(last).await.unwrap(), two[1..]);
}

async fn an_insertion_is_all_or_nothing(store: &dyn DeviceStore) {
    let before = store.changed_since(0).await.unwrap();
    let outcome = store.write(inserts(vec![new("c-3"), new("a-1")])).await;
    assert_eq!(outcome.unwrap(), Written::Taken(id("a-1")));
    let twice = store.write(inserts(vec![new("d-4"), new("d-4")])).await;
    assert_eq!(twice.unwrap(), Written::Taken(id("d-4")));
    assert_eq!(store.changed_since(0).await.unwrap(), before);
    insert(store, vec![new("A-1")]).await;
}

async fn a_swap_needs_the_version_before(store: &dyn DeviceStore) {
    let fresh = insert(store, vec![new("s-1"), new("s-2")]).await;
    let mut next = fresh.clone();
    for device in &mut next {
        device.device.version = 2;
        device.device.settings.name = "Desk".to_owned();
        device.device.settings.sockets = None;
    }
    let written = written(store, swaps(next.clone())).await;
    assert!(written[0].revision > fresh[1].revision);
    assert_eq!(written[0].device, next[0].device);
    let since = fresh[1].revision;
    assert_eq!(store.changed_since(since).await.unwrap(), written);

    let mut half = written.clone();
    half[0].device.version = 3;
    let stale = DeviceWrites {
        insert: vec![new("s-3")],
        swap: half,
    };
    assert_eq!(store.write(stale).await.unwrap(), Written::Stale);
    assert_eq!(store.changed_since(since).await.unwrap(), written);
}

async fn reports_stay_and_move_no_revision(store: &dyn DeviceStore) {
    let stored = insert(store, vec![new("r-1")]).await.remove(0);
    let report = Arc::new(Reported {
        firmware: Some("1.4.0".to_owned()),
        sockets: vec![SocketState {
            socket: SocketId::parse(1).unwrap(),
            on: true,
            changed_at: Timestamp::from_millis(5),
            origin: Origin::Device,
        }],
        ..Reported::default()
    });
    let reports = vec![(stored.device.key, report.clone())];
    store.save_reports(reports).await.unwrap();
    let since = stored.revision;
    assert_eq!(store.changed_since(since).await.unwrap(), []);
    let read = store.changed_since(since - 1).await.unwrap().remove(0);
    assert_eq!(read.device.reported, Some(report.clone()));

    let mut next = stored;
    next.device.version = 2;
    let after = written(store, swaps(vec![next])).await.remove(0);
    assert_eq!(after.device.reported, Some(report));
}

async fn joined_credentials_settle_once(store: &dyn DeviceStore) {
    let (one, two) = (digest(), digest());
    let joining = NewDevice {
        access: DeviceAccess::Joining(Some(one.clone())),
        ..new("j-1")
    };
    let stored = insert(store, vec![joining]).await.remove(0);
    let key = stored.device.key;
    store.settle_joined(vec![(key, two)]).await.unwrap();
    let since = stored.revision;
    assert_eq!(store.changed_since(since).await.unwrap(), []);
    store.settle_joined(vec![(key, one.clone())]).await.unwrap();
    let settled = store.changed_since(since).await.unwrap().remove(0);
    assert_eq!(settled.access, DeviceAccess::Credentials(one));
    assert_eq!(settled.device, stored.device);
}

async fn a_deleted_id_is_free_and_its_key_is_not(store: &dyn DeviceStore) {
    let first = insert(store, vec![new("x-1")]).await.remove(0);
    let mut tombstone = first.clone();
    tombstone.device.state = DeviceState::Deleted;
    tombstone.device.version = 2;
    tombstone.access = DeviceAccess::None;
    let tombstone = written(store, swaps(vec![tombstone])).await.remove(0);
    let second = insert(store, vec![new("x-1")]).await.remove(0);
    assert!(second.device.key > first.device.key);
    let since = first.revision;
    let rows = store.changed_since(since).await.unwrap();
    assert_eq!(rows, [tombstone, second]);
}

async fn insert(store: &dyn DeviceStore, devices: Vec<NewDevice>) -> Vec<StoredDevice> {
    written(store, inserts(devices)).await
}

async fn written(store: &dyn DeviceStore, writes: DeviceWrites) -> Vec<StoredDevice> {
    match store.write(writes).await.unwrap() {
        Written::All(stored) => stored,
        other @ (Written::Taken(_) | Written::Stale) => panic!("{other:?}"),
    }
}

fn inserts(insert: Vec<NewDevice>) -> DeviceWrites {
    DeviceWrites {
        insert,
        swap: Vec::new(),
    }
}

fn swaps(swap: Vec<StoredDevice>) -> DeviceWrites {
    DeviceWrites {
        insert: Vec::new(),
        swap,
    }
}

fn new(text: &str) -> NewDevice {
    NewDevice {
        id: id(text),
        state: DeviceState::Active,
        settings: DeviceSettings {
            name: "Küche".to_owned(),
            location: "A/3/302".to_owned(),
            sockets: Some(4),
            period_s: Some(5),
        },
        access: DeviceAccess::Credentials(digest()),
        created_at: Timestamp::from_millis(1_700_000_000_000),
    }
}

fn digest() -> DeviceDigest {
    DeviceDigest::of(&Secret::device_password())
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}
