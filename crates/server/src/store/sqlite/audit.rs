//! The audit log in `dormouse.db`.

use std::borrow::Cow;
use std::net::IpAddr;

use async_trait::async_trait;
use dormouse_core::access::Actor;
use dormouse_core::audit::AuditEntry;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{AuditQuery, AuditStore, PortError};
use rusqlite::{Row, named_params};
use uuid::Uuid;

use super::SqliteFile;
use super::convert::{time, unreadable};
use crate::store::convert::origin;

/// The audit log in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqliteAudit(SqliteFile);

impl SqliteAudit {
    /// The audit log in `file`.
    #[must_use]
    pub const fn new(file: SqliteFile) -> Self {
        Self(file)
    }
}

#[async_trait]
impl AuditStore for SqliteAudit {
    async fn append(&self, entries: Vec<AuditEntry>) -> Result<(), PortError> {
        self.0
            .write(move |db| {
                let sql = "INSERT OR IGNORE INTO audit (id, ts, actor_kind, actor_name, address, \
                    action, target, data) VALUES (:id, :ts, :kind, :name, :address, :action, \
                    :target, :data)";
                let mut statement = db.prepare_cached(sql)?;
                for entry in entries {
                    let origin = &entry.actor.origin;
                    statement.execute(named_params! {
                        ":id": entry.id.as_bytes(),
                        ":ts": entry.ts.as_millis(),
                        ":kind": origin.kind(),
                        ":name": origin.name(),
                        ":address": entry.actor.address.map(|it| it.to_string()),
                        ":action": entry.action,
                        ":target": entry.target,
                        ":data": entry.data.to_string(),
                    })?;
                }
                Ok(())
            })
            .await
    }

    async fn query(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, PortError> {
        self.0
            .read(move |db| {
                let sql = "SELECT * FROM audit WHERE (:before IS NULL OR id < :before) \
                    AND (:from IS NULL OR ts >= :from) AND (:to IS NULL OR ts < :to) \
                    AND (:actor IS NULL OR actor_name = :actor) \
                    AND (:target IS NULL OR target = :target) \
                    AND (:action IS NULL OR action = :action \
                        OR substr(action, 1, length(:action) + 1) = :action || '.') \
                    ORDER BY id DESC LIMIT :limit";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map(
                    named_params! {
                        ":before": query.before.as_ref().map(Uuid::as_bytes),
                        ":from": query.from.map(Timestamp::as_millis),
                        ":to": query.to.map(Timestamp::as_millis),
                        ":actor": query.actor,
                        ":target": query.target,
                        ":action": query.action,
                        ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
                    },
                    read_entry,
                )?;
                rows.collect()
            })
            .await
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, PortError> {
        self.0
            .write(move |db| {
                db.prepare_cached("DELETE FROM audit WHERE ts < ?1")?
                    .execute([before.as_millis()])
            })
            .await
    }
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let kind: String = row.get("actor_kind")?;
    let address: Option<String> = row.get("address")?;
    let data: String = row.get("data")?;
    let origin = origin(&kind, row.get("actor_name")?);
    Ok(AuditEntry {
        id: Uuid::from_bytes(row.get("id")?),
        ts: time(row, "ts")?,
        actor: Actor {
            origin: origin.ok_or_else(|| unreadable("actor_kind"))?,
            address: address.and_then(|text| text.parse::<IpAddr>().ok()),
        },
        action: Cow::Owned(row.get("action")?),
        target: row.get("target")?,
        data: serde_json::from_str(&data).map_err(|_| unreadable("data"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::dormouse_db;
    use super::*;

    #[tokio::test]
    async fn keeps_the_audit_store_contract() {
        let (_dir, file) = dormouse_db();
        dormouse_core::contract::audit_store(&SqliteAudit::new(file)).await;
    }
}
