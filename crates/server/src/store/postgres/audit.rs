//! The audit log.

use std::borrow::Cow;
use std::net::IpAddr;

use async_trait::async_trait;
use dormouse_core::access::Actor;
use dormouse_core::audit::AuditEntry;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{AuditQuery, AuditStore, PortError};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::Postgres;
use super::convert::{Moment, limit, storable, time, unreadable};
use super::pool::get;
use crate::store::convert::origin;

/// The audit log in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresAudit(Postgres);

impl PostgresAudit {
    /// The audit log in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl AuditStore for PostgresAudit {
    async fn append(&self, entries: Vec<AuditEntry>) -> Result<(), PortError> {
        let sql = "INSERT INTO audit
            SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[],
                                 $5::text[], $6::text[], $7::text[], $8::json[])
            ON CONFLICT DO NOTHING";
        let column = |read: fn(&AuditEntry) -> Cow<'_, str>| -> Vec<Cow<'_, str>> {
            entries.iter().map(read).collect()
        };
        let ids: Vec<_> = entries.iter().map(|it| it.id).collect();
        let times: Vec<_> = entries.iter().map(|it| Moment(it.ts)).collect();
        let kinds = column(|it| it.actor.origin.kind().into());
        let names: Vec<_> = entries
            .iter()
            .map(|it| it.actor.origin.name().map(storable))
            .collect();
        let addresses: Vec<_> = entries
            .iter()
            .map(|it| it.actor.address.map(|address| address.to_string()))
            .collect();
        let actions = column(|it| storable(&it.action));
        let targets = column(|it| storable(&it.target));
        let data: Vec<_> = entries.iter().map(|it| Json(&it.data)).collect();
        self.0
            .execute(
                sql,
                &[
                    &ids, &times, &kinds, &names, &addresses, &actions, &targets, &data,
                ],
            )
            .await
            .map(drop)
    }

    async fn query(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, PortError> {
        let sql = "SELECT id, ts, actor_kind, actor_name, address, action, target, data
            FROM audit WHERE ($1::uuid IS NULL OR id < $1)
            AND ($2::timestamptz IS NULL OR ts >= $2) AND ($3::timestamptz IS NULL OR ts < $3)
            AND ($4::text IS NULL OR actor_name = $4) AND ($5::text IS NULL OR target = $5)
            AND ($6::text IS NULL OR action = $6 OR starts_with(action, $6 || '.'))
            ORDER BY id DESC LIMIT $7";
        let rows = self
            .0
            .query(
                sql,
                &[
                    &query.before,
                    &query.from.map(Moment),
                    &query.to.map(Moment),
                    &query.actor.as_deref().map(storable),
                    &query.target.as_deref().map(storable),
                    &query.action.as_deref().map(storable),
                    &limit(query.limit),
                ],
            )
            .await?;
        rows.iter().map(read_entry).collect()
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, PortError> {
        let sql = "DELETE FROM audit WHERE ts < $1";
        self.0.execute(sql, &[&Moment(before)]).await
    }
}

fn read_entry(row: &Row) -> Result<AuditEntry, PortError> {
    let address: Option<&str> = get(row, "address")?;
    let Json(data) = get(row, "data")?;
    let origin = origin(get(row, "actor_kind")?, get(row, "actor_name")?);
    Ok(AuditEntry {
        id: get(row, "id")?,
        ts: time(row, "ts")?,
        actor: Actor {
            origin: origin.ok_or_else(|| unreadable("actor_kind"))?,
            address: address.and_then(|text| text.parse::<IpAddr>().ok()),
        },
        action: Cow::Owned(get(row, "action")?),
        target: get(row, "target")?,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Engine, on_every_engine};
    use super::*;

    async fn keeps_the_contract(engine: Engine) {
        let store = PostgresAudit::new(engine.open().await);
        dormouse_core::contract::audit_store(&store).await;
    }
    on_every_engine!(keeps_the_contract);
}
