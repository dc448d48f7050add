//! The contracts of [`EventStore`] and [`IncidentStore`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::event::{Event, EventType, Origin, Severity};
use crate::ids::{DeviceId, DeviceKey, EventId, IncidentId, SocketId};
use crate::incident::{Incident, Returned};
use crate::ports::{EventQuery, EventStore, IncidentQuery, IncidentStore};

/// The contract of [`EventStore`], on empty stores from `open`.
///
/// # Panics
/// Where a store breaks the contract.
pub async fn event_store<S: EventStore, F: Future<Output = S>>(open: impl Fn() -> F) {
    an_event_comes_back_as_it_was(&open().await).await;
    a_repeated_event_changes_nothing(&open().await).await;
    lists_are_newest_first_and_page_without_gaps(&open().await).await;
    filters_hold(&open().await).await;
    the_last_presence_is_the_last_received(&open().await).await;
    pruning_spares_the_last_presence(&open().await).await;
}

fn event(n: u128, ts: i64) -> Event {
    Event {
        id: EventId(Uuid::from_u128(n)),
        device: Some((DeviceKey(7), DeviceId::parse("A-302-strip01").unwrap())),
        socket: Some(SocketId::parse(2).unwrap()),
        kind: EventType::Device("overload".to_owned()),
        severity: Severity::Warning,
        ts: Timestamp::from_millis(ts),
        received_at: Timestamp::from_millis(ts + 5),
        origin: Origin::User {
            name: "ann".to_owned(),
        },
        data: json!({"powerW": 2810.5, "nested": [1, null]}),
    }
}

fn all() -> EventQuery {
    EventQuery {
        limit: 100,
        ..EventQuery::default()
    }
}

async fn an_event_comes_back_as_it_was(store: &dyn EventStore) {
    let bare = Event {
        device: None,
        socket: None,
        kind: EventType::Incident,
        severity: Severity::Critical,
        origin: Origin::Server,
        data: json!(null),
        ..event(2, 9)
    };
    store.append(&[event(1, 5), bare.clone()]).await.unwrap();
    assert_eq!(store.list(&all()).await.unwrap(), [bare, event(1, 5)]);
}

async fn a_repeated_event_changes_nothing(store: &dyn EventStore) {
    store.append(&[event(1, 5)]).await.unwrap();
    let repeated = Event {
        severity: Severity::Critical,
        ..event(1, 5)
    };
    store.append(&[repeated, event(2, 6)]).await.unwrap();
    assert_eq!(
        store.list(&all()).await.unwrap(),
        [event(2, 6), event(1, 5)]
    );
}

async fn lists_are_newest_first_and_page_without_gaps(store: &dyn EventStore) {
    let mut events: Vec<Event> = (0..10_u8)
        .map(|n| event(n.into(), i64::from(n / 3)))
        .collect();
    store.append(&events).await.unwrap();
    events.reverse();
    let mut listed = Vec::new();
    let mut query = EventQuery { limit: 3, ..all() };
    loop {
        let page = store.list(&query).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        query.after = Some((last.ts, last.id));
        listed.extend(page);
    }
    assert_eq!(listed, events);
}

async fn filters_hold(store: &dyn EventStore) {
    let other = Event {
        device: Some((DeviceKey(8), DeviceId::parse("B-1").unwrap())),
        kind: EventType::DeviceAdded,
        severity: Severity::Info,
        ..event(2, 20)
    };
    store.append(&[event(1, 10), other.clone()]).await.unwrap();
    let found = async |query: EventQuery| store.list(&query).await.unwrap();
    let device = |id| Some(DeviceId::parse(id).unwrap());
    let at = |ms| Some(Timestamp::from_millis(ms));

    let by_device = EventQuery {
        device: device("B-1"),
        ..all()
    };
    assert!(found(by_device).await.iter().eq([&other]));
    let by_kind = EventQuery {
        kind: Some(EventType::Device("overload".to_owned())),
        ..all()
    };
    assert_eq!(found(by_kind).await, [event(1, 10)]);
    let by_severity = EventQuery {
        severity: Some(Severity::Info),
        ..all()
    };
    assert!(found(by_severity).await.iter().eq([&other]));
    let from = EventQuery {
        from: at(20),
        ..all()
    };
    assert_eq!(found(from).await, [other]);
    let to = EventQuery {
        to: at(20),
        ..all()
    };
    assert_eq!(found(to).await, [event(1, 10)]);
    let neither = EventQuery {
        device: device("B-1"),
        to: at(20),
        ..all()
    };
    assert_eq!(found(neither).await, []);
}

fn presence(n: u128, key: u32, kind: EventType, received_at: i64) -> Event {
    Event {
        device: Some((DeviceKey(key), DeviceId::parse(&format!("d{key}")).unwrap())),
        kind,
        received_at: Timestamp::from_millis(received_at),
        ..event(n, received_at)
    }
}

async fn the_last_presence_is_the_last_received(store: &dyn EventStore) {
    let first = presence(1, 7, EventType::DeviceOnline, 10);
    let last = presence(2, 7, EventType::DeviceOffline, 20);
    let other = presence(3, 8, EventType::DeviceOnline, 5);
    let later_but_no_change = event(4, 90);
    store.append(&[first.clone(), last.clone()]).await.unwrap();
    store.append(&[first, other.clone()]).await.unwrap();
    store.append(&[later_but_no_change]).await.unwrap();
    let mut found = store.last_presence().await.unwrap();
    found.sort_by_key(|event| event.device.clone().unwrap().0);
    assert_eq!(found, [last, other]);
}

async fn pruning_spares_the_last_presence(store: &dyn EventStore) {
    let kept = presence(1, 7, EventType::DeviceOffline, 10);
    let mut events = vec![kept.clone(), presence(2, 7, EventType::DeviceOnline, 5)];
    events.extend((10..20).map(|n| event(n, 20)));
    events.push(event(99, 500));
    store.append(&events).await.unwrap();
    let before = Timestamp::from_millis(100);
    assert_eq!(store.prune(before, 4).await.unwrap(), 4);
    assert_eq!(store.prune(before, 100).await.unwrap(), 7);
    assert_eq!(store.prune(before, 100).await.unwrap(), 0);
    assert_eq!(
        store.list(&all()).await.unwrap(),
        [event(99, 500), kept.clone()]
    );
    assert_eq!(store.last_presence().await.unwrap(), [kept]);
}

/// The contract of [`IncidentStore`], on empty stores from `open`.
///
/// # Panics
/// Where a store breaks the contract.
pub async fn incident_store<S: IncidentStore, F: Future<Output = S>>(open: impl Fn() -> F) {
    an_incident_is_replaced_by_its_later_version(&open().await).await;
    incidents_page_newest_first(&open().await).await;
    pruning_spares_open_incidents(&open().await).await;
}

fn incident(n: u128, started_at: i64) -> Incident {
    Incident {
        id: IncidentId(Uuid::from_u128(n)),
        location: "A/3".to_owned(),
        started_at: Timestamp::from_millis(started_at),
        ended_at: None,
        devices: BTreeMap::from([
            (DeviceId::parse("a").unwrap(), Returned::NotYet),
            (
                DeviceId::parse("b").unwrap(),
                Returned::At(Timestamp::from_millis(8)),
            ),
        ]),
    }
}

fn every() -> IncidentQuery {
    IncidentQuery {
        limit: 100,
        ..IncidentQuery::default()
    }
}

async fn an_incident_is_replaced_by_its_later_version(store: &dyn IncidentStore) {
    let mut it = incident(1, 5);
    store.put(&it).await.unwrap();
    assert_eq!(store.list(&every()).await.unwrap(), [it.clone()]);
    it.returned(&DeviceId::parse("a").unwrap(), Timestamp::from_millis(9));
    store.put(&it).await.unwrap();
    assert_eq!(store.list(&every()).await.unwrap(), [it]);
    let open = IncidentQuery {
        open_only: true,
        ..every()
    };
    assert_eq!(store.list(&open).await.unwrap(), []);
}

async fn incidents_page_newest_first(store: &dyn IncidentStore) {
    for n in 0..5 {
        store.put(&incident(n, 5)).await.unwrap();
    }
    let first = IncidentQuery {
        limit: 2,
        ..every()
    };
    let page = store.list(&first).await.unwrap();
    assert_eq!(page, [incident(4, 5), incident(3, 5)]);
    let rest = IncidentQuery {
        after: Some((page[1].started_at, page[1].id)),
        ..every()
    };
    assert_eq!(
        store.list(&rest).await.unwrap(),
        [incident(2, 5), incident(1, 5), incident(0, 5)]
    );
}

async fn pruning_spares_open_incidents(store: &dyn IncidentStore) {
    let ended = Incident {
        ended_at: Some(Timestamp::from_millis(6)),
        ..incident(2, 5)
    };
    store.put(&incident(1, 5)).await.unwrap();
    store.put(&ended).await.unwrap();
    let before = Timestamp::from_millis(100);
    assert_eq!(store.prune(before, 10).await.unwrap(), 1);
    assert_eq!(store.list(&every()).await.unwrap(), [incident(1, 5)]);
}
