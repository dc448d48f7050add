//! Events in `dormouse.db`.

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::event::{Event, EventType};
use dormouse_core::ids::{DeviceId, DeviceKey, EventId, SocketId};
use dormouse_core::ports::{EventQuery, EventStore, PortError};
use rusqlite::{Connection, Row, ToSql, named_params};
use uuid::Uuid;

use super::SqliteFile;
use super::convert::{time, unreadable};
use crate::store::convert::{origin, severity, severity_code};

/// Events in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqliteEvents(SqliteFile);

impl SqliteEvents {
    /// The events in `file`.
    #[must_use]
    pub const fn new(file: SqliteFile) -> Self {
        Self(file)
    }
}

#[async_trait]
impl EventStore for SqliteEvents {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        let events = events.to_vec();
        self.0
            .write(move |db| events.iter().try_for_each(|event| insert(db, event)))
            .await
    }

    async fn list(&self, query: &EventQuery) -> Result<Vec<Event>, PortError> {
        let query = query.clone();
        self.0.read(move |db| select(db, &query)).await
    }

    async fn last_presence(&self) -> Result<Vec<Event>, PortError> {
        self.0
            .read(|db| {
                let sql = "SELECT events.* FROM last_presence JOIN events \
                    ON events.ts = last_presence.ts AND events.id = last_presence.event_id";
                let mut statement = db.prepare_cached(sql)?;
                statement.query_map([], read_event)?.collect()
            })
            .await
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        self.0
            .write(move |db| {
                let sql = "DELETE FROM events WHERE id IN (SELECT id FROM events \
                    WHERE received_at < :before \
                    AND id NOT IN (SELECT event_id FROM last_presence) LIMIT :limit)";
                db.prepare_cached(sql)?.execute(named_params! {
                    ":before": before.as_millis(),
                    ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
                })
            })
            .await
    }
}

fn insert(db: &Connection, event: &Event) -> rusqlite::Result<()> {
    let device = event.device.as_ref();
    let sql = "INSERT OR IGNORE INTO events VALUES (:id, :ts, :received_at, :device_key, \
        :device_id, :socket, :type, :severity, :origin_kind, :origin_name, :data)";
    let inserted = db.prepare_cached(sql)?.execute(named_params! {
        ":id": event.id.0.as_bytes(),
        ":ts": event.ts.as_millis(),
        ":received_at": event.received_at.as_millis(),
        ":device_key": device.map(|(key, _)| key.0),
        ":device_id": device.map(|(_, id)| id.as_str()),
        ":socket": event.socket.map(SocketId::get),
        ":type": event.kind.name(),
        ":severity": severity_code(event.severity),
        ":origin_kind": event.origin.kind(),
        ":origin_name": event.origin.name(),
        ":data": event.data.to_string(),
    })?;
    let is_presence =
        event.kind == EventType::DeviceOnline || event.kind == EventType::DeviceOffline;
    if let (1, true, Some((key, _))) = (inserted, is_presence, device) {
        let sql = "INSERT INTO last_presence VALUES (:key, :ts, :id, :received_at) \
            ON CONFLICT DO UPDATE SET ts = :ts, event_id = :id, received_at = :received_at \
            WHERE received_at <= :received_at";
        db.prepare_cached(sql)?.execute(named_params! {
            ":key": key.0,
            ":ts": event.ts.as_millis(),
            ":id": event.id.0.as_bytes(),
            ":received_at": event.received_at.as_millis(),
        })?;
    }
    Ok(())
}

/// Only the conditions that the query names: each leaves the planner one index to choose.
fn select(db: &Connection, query: &EventQuery) -> rusqlite::Result<Vec<Event>> {
    let device = query.device.as_ref().map(DeviceId::as_str);
    let kind = query.kind.as_ref().map(EventType::name);
    let severity = query.severity.map(severity_code);
    let from = query.from.map(Timestamp::as_millis);
    let to = query.to.map(Timestamp::as_millis);
    let after = query
        .after
        .map(|(ts, id)| (ts.as_millis(), *id.0.as_bytes()));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);

    let (after_ts, after_id) = after.unzip();
    let conditions = [
        (" AND device_id = :device", ":device", sql_value(&device)),
        (" AND type = :type", ":type", sql_value(&kind)),
        (
            " AND severity = :severity",
            ":severity",
            sql_value(&severity),
        ),
        (" AND ts >= :from", ":from", sql_value(&from)),
        (" AND ts < :to", ":to", sql_value(&to)),
        (" AND (ts, id) < (:ts", ":ts", sql_value(&after_ts)),
        (", :id)", ":id", sql_value(&after_id)),
    ];
    let mut sql = String::from("SELECT * FROM events WHERE 1");
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":limit", &limit)];
    for (condition, name, value) in conditions {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push((name, value));
        }
    }
    sql.push_str(" ORDER BY ts DESC, id DESC LIMIT :limit");
    let mut statement = db.prepare_cached(&sql)?;
    statement
        .query_map(values.as_slice(), read_event)?
        .collect()
}

fn sql_value<T: ToSql>(value: &Option<T>) -> Option<&dyn ToSql> {
    value.as_ref().map(|value| value as &dyn ToSql)
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let key: Option<u32> = row.get("device_key")?;
    let id: Option<String> = row.get("device_id")?;
    let id = id.map(|id| DeviceId::parse(&id)).transpose();
    let socket: Option<u8> = row.get("socket")?;
    let socket = socket.map(u64::from).map(SocketId::parse).transpose();
    let kind: String = row.get("type")?;
    let origin_kind: String = row.get("origin_kind")?;
    let data: String = row.get("data")?;
    Ok(Event {
        id: EventId(Uuid::from_bytes(row.get("id")?)),
        device: key
            .map(DeviceKey)
            .zip(id.map_err(|_| unreadable("device_id"))?),
        socket: socket.map_err(|_| unreadable("socket"))?,
        kind: EventType::from_name(&kind).ok_or_else(|| unreadable("type"))?,
        severity: severity(row.get("severity")?).ok_or_else(|| unreadable("severity"))?,
        ts: time(row, "ts")?,
        received_at: time(row, "received_at")?,
        origin: origin(&origin_kind, row.get("origin_name")?)
            .ok_or_else(|| unreadable("origin_kind"))?,
        data: serde_json::from_str(&data).map_err(|_| unreadable("data"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::dormouse_db;
    use super::*;

    #[tokio::test]
    async fn keeps_the_event_store_contract() {
        let dirs = std::sync::Mutex::new(Vec::new());
        dormouse_core::contract::event_store(|| async {
            let (dir, file) = dormouse_db();
            dirs.lock().unwrap().push(dir);
            SqliteEvents::new(file)
        })
        .await;
    }
}
