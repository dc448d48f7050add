//! Events in PostgreSQL.

use async_trait::async_trait;
use deadpool_postgres::GenericClient;
use dormouse_core::clock::Timestamp;
use dormouse_core::event::{Event, EventType};
use dormouse_core::ids::{DeviceId, EventId, SocketId};
use dormouse_core::ports::{EventQuery, EventStore, PortError};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Error, Row};

use super::Postgres;
use super::convert::{Moment, key_from, key_sql, storable, time, unreadable};
use super::pool::{get, in_time};
use crate::store::convert::{origin, severity, severity_code};

const COLUMNS: &str = "e.id, e.ts, e.received_at, e.device_key, e.device_id, e.socket, e.type, \
    e.severity, e.origin_kind, e.origin_name, e.data";

/// Adds events in the order of their ids, so that nodes that write the same
/// ones do not wait for each other; of a device's new changes of presence the
/// last received is noted, and of those the last given.
const APPEND: &str = "WITH given AS (
        SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::int4[],
                             $5::text[], $6::int2[], $7::text[], $8::int2[], $9::text[],
                             $10::text[], $11::json[])
            WITH ORDINALITY AS g (id, ts, received_at, device_key, device_id, socket, type,
                                  severity, origin_kind, origin_name, data, nr)
    ), added AS (
        INSERT INTO events (id, ts, received_at, device_key, device_id, socket, type, severity,
                            origin_kind, origin_name, data)
        SELECT id, ts, received_at, device_key, device_id, socket, type, severity, origin_kind,
               origin_name, data
        FROM given ORDER BY id
        ON CONFLICT (id) DO NOTHING RETURNING id
    )
    INSERT INTO last_presence AS l (device_key, event_id, received_at)
    SELECT DISTINCT ON (device_key) device_key, id, received_at
    FROM given JOIN added USING (id)
    WHERE type = ANY($12) AND device_key IS NOT NULL
    ORDER BY device_key, received_at DESC, nr DESC
    ON CONFLICT (device_key) DO UPDATE SET
        event_id = excluded.event_id, received_at = excluded.received_at
    WHERE l.received_at <= excluded.received_at";

/// Events in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresEvents(Postgres);

impl PostgresEvents {
    /// The events in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl EventStore for PostgresEvents {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        let client = self.0.connection().await?;
        in_time(append_events(&client, events)).await
    }

    async fn list(&self, query: &EventQuery) -> Result<Vec<Event>, PortError> {
        let limit = super::convert::limit(query.limit);
        let device = query.device.as_ref().map(DeviceId::as_str);
        let kind = query.kind.as_ref().map(EventType::name);
        let severity = query.severity.map(|it| i16::from(severity_code(it)));
        let (from, to) = (query.from.map(Moment), query.to.map(Moment));
        let (ts, id) = query.after.unzip();
        let (ts, id) = (ts.map(Moment), id.map(|id| id.0));
        // Only the conditions that the query names: each leaves the planner
        // one index to choose.
        let conditions = [
            (" AND e.device_id = ", sql_value(&device)),
            (" AND e.type = ", sql_value(&kind)),
            (" AND e.severity = ", sql_value(&severity)),
            (" AND e.ts >= ", sql_value(&from)),
            (" AND e.ts < ", sql_value(&to)),
            (" AND (e.ts, e.id) < ROW(", sql_value(&ts)),
            (", ", sql_value(&id)),
        ];
        let mut sql = format!("SELECT {COLUMNS} FROM events e WHERE true");
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&limit];
        for (condition, value) in conditions {
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!("{condition}${}", values.len()));
            }
        }
        if id.is_some() {
            sql.push(')');
        }
        sql.push_str(" ORDER BY e.ts DESC, e.id DESC LIMIT $1");
        let rows = self.0.query(&sql, &values).await?;
        rows.iter().map(read_event).collect()
    }

    async fn last_presence(&self) -> Result<Vec<Event>, PortError> {
        let sql =
            format!("SELECT {COLUMNS} FROM last_presence l JOIN events e ON e.id = l.event_id");
        let rows = self.0.query(&sql, &[]).await?;
        rows.iter().map(read_event).collect()
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        let sql = "DELETE FROM events WHERE id IN (SELECT e.id FROM events e
            WHERE e.received_at < $1
            AND NOT EXISTS (SELECT FROM last_presence l WHERE l.event_id = e.id) LIMIT $2)";
        let limit = super::convert::limit(limit);
        self.0.execute(sql, &[&Moment(before), &limit]).await
    }
}

fn sql_value<T: ToSql + Sync>(value: &Option<T>) -> Option<&(dyn ToSql + Sync)> {
    value.as_ref().map(|value| value as &(dyn ToSql + Sync))
}

/// Keeps events; one that is kept already changes nothing.
pub(super) async fn append_events(
    client: &impl GenericClient,
    events: &[Event],
) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let statement = client.prepare_cached(APPEND).await?;
    let ids: Vec<_> = events.iter().map(|it| it.id.0).collect();
    let times: Vec<_> = events.iter().map(|it| Moment(it.ts)).collect();
    let received: Vec<_> = events.iter().map(|it| Moment(it.received_at)).collect();
    let device = |it: &Event| it.device.as_ref().map(|(key, _)| key_sql(*key));
    let keys: Vec<_> = events.iter().map(device).collect();
    let devices: Vec<_> = events
        .iter()
        .map(|it| it.device.as_ref().map(|(_, id)| id.as_str()))
        .collect();
    let sockets: Vec<_> = events
        .iter()
        .map(|it| it.socket.map(|socket| i16::from(socket.get())))
        .collect();
    let kinds: Vec<_> = events
        .iter()
        .map(|it| storable(&it.kind.name()).into_owned())
        .collect();
    let severities: Vec<_> = events
        .iter()
        .map(|it| i16::from(severity_code(it.severity)))
        .collect();
    let origins: Vec<_> = events.iter().map(|it| it.origin.kind()).collect();
    let names: Vec<_> = events
        .iter()
        .map(|it| it.origin.name().map(storable))
        .collect();
    let data: Vec<_> = events.iter().map(|it| Json(&it.data)).collect();
    let presence = [EventType::DeviceOnline, EventType::DeviceOffline];
    let presence: Vec<_> = presence.iter().map(EventType::name).collect();
    client
        .execute(
            &statement,
            &[
                &ids,
                &times,
                &received,
                &keys,
                &devices,
                &sockets,
                &kinds,
                &severities,
                &origins,
                &names,
                &data,
                &presence,
            ],
        )
        .await?;
    Ok(())
}

fn read_event(row: &Row) -> Result<Event, PortError> {
    let key: Option<i32> = get(row, "device_key")?;
    let id: Option<&str> = get(row, "device_id")?;
    let id = id.map(DeviceId::parse).transpose();
    let socket: Option<i16> = get(row, "socket")?;
    let socket = socket
        .map(|it| {
            u64::try_from(it)
                .ok()
                .and_then(|it| SocketId::parse(it).ok())
        })
        .map(|it| it.ok_or_else(|| unreadable("socket")))
        .transpose()?;
    let code: i16 = get(row, "severity")?;
    let Json(data) = get(row, "data")?;
    Ok(Event {
        id: EventId(get(row, "id")?),
        device: key
            .map(key_from)
            .zip(id.map_err(|_| unreadable("device_id"))?),
        socket,
        kind: EventType::from_name(get(row, "type")?).ok_or_else(|| unreadable("type"))?,
        severity: u8::try_from(code)
            .ok()
            .and_then(severity)
            .ok_or_else(|| unreadable("severity"))?,
        ts: time(row, "ts")?,
        received_at: time(row, "received_at")?,
        origin: origin(get(row, "origin_kind")?, get(row, "origin_name")?)
            .ok_or_else(|| unreadable("origin_kind"))?,
        data,
    })
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract::event_store;

    use super::super::testing::{Engine, on_every_engine};
    use super::*;

    async fn keeps_the_contract(engine: Engine) {
        event_store(|| async { PostgresEvents::new(engine.open().await) }).await;
    }
    on_every_engine!(keeps_the_contract);
}
