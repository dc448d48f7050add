//! Incidents in `dormouse.db`.

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::IncidentId;
use dormouse_core::incident::Incident;
use dormouse_core::ports::{IncidentQuery, IncidentStore, PortError};
use rusqlite::{Row, named_params};
use uuid::Uuid;

use super::SqliteFile;
use super::convert::{time, time_opt, unreadable};
use crate::store::convert::{incident_devices, incident_devices_json};

/// Incidents in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqliteIncidents(SqliteFile);

impl SqliteIncidents {
    /// The incidents in `file`.
    #[must_use]
    pub const fn new(file: SqliteFile) -> Self {
        Self(file)
    }
}

#[async_trait]
impl IncidentStore for SqliteIncidents {
    async fn put(&self, incident: &Incident) -> Result<(), PortError> {
        let incident = incident.clone();
        let devices = incident_devices_json(&incident.devices);
        self.0
            .write(move |db| {
                let sql = "INSERT INTO incidents VALUES (:id, :location, :started_at, \
                    :ended_at, :devices) ON CONFLICT (id) DO UPDATE SET \
                    ended_at = :ended_at, devices = :devices, location = :location";
                db.prepare_cached(sql)?.execute(named_params! {
                    ":id": incident.id.0.as_bytes(),
                    ":location": incident.location,
                    ":started_at": incident.started_at.as_millis(),
                    ":ended_at": incident.ended_at.map(Timestamp::as_millis),
                    ":devices": devices,
                })?;
                Ok(())
            })
            .await
    }

    async fn list(&self, query: &IncidentQuery) -> Result<Vec<Incident>, PortError> {
        let query = query.clone();
        self.0
            .read(move |db| {
                let (ts, id) = query.after.unzip();
                let sql = "SELECT * FROM incidents WHERE (NOT :open OR ended_at IS NULL) \
                    AND (:ts IS NULL OR (started_at, id) < (:ts, :id)) \
                    ORDER BY started_at DESC, id DESC LIMIT :limit";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map(
                    named_params! {
                        ":open": query.open_only,
                        ":ts": ts.map(Timestamp::as_millis),
                        ":id": id.as_ref().map(|id| id.0.as_bytes()),
                        ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
                    },
                    read_incident,
                )?;
                rows.collect()
            })
            .await
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        self.0
            .write(move |db| {
                let sql = "DELETE FROM incidents WHERE id IN (SELECT id FROM incidents \
                    WHERE started_at < :before AND ended_at IS NOT NULL LIMIT :limit)";
                db.prepare_cached(sql)?.execute(named_params! {
                    ":before": before.as_millis(),
                    ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
                })
            })
            .await
    }
}

fn read_incident(row: &Row<'_>) -> rusqlite::Result<Incident> {
    let devices: String = row.get("devices")?;
    let devices = incident_devices(&devices).ok_or_else(|| unreadable("devices"))?;
    Ok(Incident {
        id: IncidentId(Uuid::from_bytes(row.get("id")?)),
        location: row.get("location")?,
        started_at: time(row, "started_at")?,
        ended_at: time_opt(row, "ended_at")?,
        devices,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::dormouse_db;
    use super::*;

    #[tokio::test]
    async fn keeps_the_incident_store_contract() {
        let dirs = std::sync::Mutex::new(Vec::new());
        dormouse_core::contract::incident_store(|| async {
            let (dir, file) = dormouse_db();
            dirs.lock().unwrap().push(dir);
            SqliteIncidents::new(file)
        })
        .await;
    }
}
