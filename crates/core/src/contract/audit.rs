//! The contract of [`AuditStore`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]

use std::borrow::Cow;

use serde_json::json;

use crate::access::Actor;
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::event::Origin;
use crate::ids::uuid_v7;
use crate::ports::{AuditQuery, AuditStore};

/// The contract of [`AuditStore`], on an empty store.
///
/// # Panics
/// Where `store` breaks the contract.
pub async fn audit_store(store: &dyn AuditStore) {
    let log = [
        entry(1_000, "ann", "device.add", "device:A"),
        entry(2_000, "bob", "device.edit", "device:A"),
        entry(3_000, "ann", "devices", "devices"),
        entry(4_000, "ann", "command.send", "device:B"),
    ];
    store.append(log.to_vec()).await.unwrap();
    store.append(log[..2].to_vec()).await.unwrap();

    let found = async |query| store.query(query).await.unwrap();
    let newest_first: Vec<_> = log.iter().rev().cloned().collect();
    assert_eq!(found(all()).await, newest_first, "repeats change nothing");

    let page = AuditQuery {
        limit: 2,
        before: Some(log[3].id),
        ..all()
    };
    assert_eq!(found(page).await, [log[2].clone(), log[1].clone()]);
    let by_ann = AuditQuery {
        actor: Some("ann".into()),
        target: Some("device:A".into()),
        ..all()
    };
    assert_eq!(found(by_ann).await, [log[0].clone()]);
    let devices = AuditQuery {
        action: Some("device".into()),
        ..all()
    };
    assert_eq!(found(devices).await, [log[1].clone(), log[0].clone()]);
    let between = AuditQuery {
        from: Some(Timestamp::from_millis(2_000)),
        to: Some(Timestamp::from_millis(4_000)),
        ..all()
    };
    assert_eq!(found(between).await, [log[2].clone(), log[1].clone()]);

    assert_eq!(store.prune(Timestamp::from_millis(3_000)).await.unwrap(), 2);
    assert_eq!(found(all()).await, [log[3].clone(), log[2].clone()]);
}

fn all() -> AuditQuery {
    AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    }
}

fn entry(ms: i64, who: &str, action: &'static str, target: &str) -> AuditEntry {
    let ts = Timestamp::from_millis(ms);
    AuditEntry {
        id: uuid_v7(ts),
        ts,
        actor: Actor {
            origin: Origin::User { name: who.into() },
            address: "127.0.0.1".parse().ok(),
        },
        action: Cow::Borrowed(action),
        target: target.to_owned(),
        data: json!({ "ms": ms }),
    }
}
