//! Devices in PostgreSQL.

mod row;
#[cfg(test)]
mod tests;
mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::device::Reported;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::{DeviceStore, DeviceWrites, PortError, StoredDevice, Written};
use dormouse_core::secret::DeviceDigest;

use super::Postgres;
use super::convert::key_sql;
use super::pool::in_time;
use row::{CHANGED_SINCE, read_device};
use writes::{ONE_WRITER, write_devices};

pub(super) use writes::save_reports;

/// Devices in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresDevices(Postgres);

impl PostgresDevices {
    /// Devices in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl DeviceStore for PostgresDevices {
    async fn changed_since(&self, revision: i64) -> Result<Vec<StoredDevice>, PortError> {
        let rows = self.0.query(CHANGED_SINCE, &[&revision]).await?;
        rows.iter().map(read_device).collect()
    }

    async fn write(&self, writes: DeviceWrites) -> Result<Written, PortError> {
        let mut client = self.0.connection().await?;
        let done = in_time(async {
            let transaction = client.transaction().await?;
            let done = write_devices(&transaction, &writes).await?;
            if done.is_ok() {
                transaction.commit().await?;
            }
            Ok(done)
        });
        Ok(match done.await? {
            Ok(rows) => Written::All(rows.iter().map(read_device).collect::<Result<_, _>>()?),
            Err(refusal) => refusal,
        })
    }

    async fn save_reports(
        &self,
        reports: Vec<(DeviceKey, Arc<Reported>)>,
    ) -> Result<(), PortError> {
        let client = self.0.connection().await?;
        in_time(save_reports(&client, &reports, false)).await
    }

    async fn settle_joined(&self, joined: Vec<(DeviceKey, DeviceDigest)>) -> Result<(), PortError> {
        let mut client = self.0.connection().await?;
        in_time(async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(ONE_WRITER).await?;
            let sql = "UPDATE devices SET access = 'credentials',
                    revision = (SELECT max(revision) + 1 FROM devices)
                WHERE key = $1 AND access = 'joining' AND hash = $2 AND salt = $3";
            let statement = transaction.prepare_cached(sql).await?;
            for (key, digest) in joined {
                let (hash, salt) = (&digest.hash()[..], &digest.salt()[..]);
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                    [&key_sql(key), &hash, &salt];
                transaction.execute(&statement, &values).await?;
            }
            transaction.commit().await
        })
        .await
    }
}
