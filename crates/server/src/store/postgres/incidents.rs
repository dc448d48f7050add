//! Incidents in PostgreSQL.

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::IncidentId;
use dormouse_core::incident::Incident;
use dormouse_core::ports::{IncidentQuery, IncidentStore, PortError};
use tokio_postgres::Row;

use super::Postgres;
use super::convert::{Moment, limit, storable, time, time_opt, unreadable};
use super::pool::get;
use crate::store::convert::{incident_devices, incident_devices_json};

/// Incidents in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresIncidents(Postgres);

impl PostgresIncidents {
    /// The incidents in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl IncidentStore for PostgresIncidents {
    async fn put(&self, incident: &Incident) -> Result<(), PortError> {
        let sql = "INSERT INTO incidents (id, location, started_at, ended_at, devices)
            VALUES ($1, $2, $3, $4, $5::text::json)
            ON CONFLICT (id) DO UPDATE SET location = excluded.location,
                ended_at = excluded.ended_at, devices = excluded.devices";
        let devices = incident_devices_json(&incident.devices);
        self.0
            .execute(
                sql,
                &[
                    &incident.id.0,
                    &storable(&incident.location),
                    &Moment(incident.started_at),
                    &incident.ended_at.map(Moment),
                    &devices,
                ],
            )
            .await
            .map(drop)
    }

    async fn list(&self, query: &IncidentQuery) -> Result<Vec<Incident>, PortError> {
        let sql = "SELECT id, location, started_at, ended_at, devices::text AS devices
            FROM incidents WHERE (NOT $1 OR ended_at IS NULL)
            AND ($2::timestamptz IS NULL OR (started_at, id) < ($2, $3::uuid))
            ORDER BY started_at DESC, id DESC LIMIT $4";
        let (ts, id) = query.after.unzip();
        let rows = self
            .0
            .query(
                sql,
                &[
                    &query.open_only,
                    &ts.map(Moment),
                    &id.map(|id| id.0),
                    &limit(query.limit),
                ],
            )
            .await?;
        rows.iter().map(read_incident).collect()
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        let sql = "DELETE FROM incidents WHERE id IN (SELECT id FROM incidents
            WHERE started_at < $1 AND ended_at IS NOT NULL LIMIT $2)";
        let limit = super::convert::limit(limit);
        self.0.execute(sql, &[&Moment(before), &limit]).await
    }
}

fn read_incident(row: &Row) -> Result<Incident, PortError> {
    Ok(Incident {
        id: IncidentId(get(row, "id")?),
        location: get(row, "location")?,
        started_at: time(row, "started_at")?,
        ended_at: time_opt(row, "ended_at")?,
        devices: incident_devices(get(row, "devices")?).ok_or_else(|| unreadable("devices"))?,
    })
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract::incident_store;

    use super::super::testing::{Engine, on_every_engine};
    use super::*;

    async fn keeps_the_contract(engine: Engine) {
        incident_store(|| async { PostgresIncidents::new(engine.open().await) }).await;
    }
    on_every_engine!(keeps_the_contract);
}
