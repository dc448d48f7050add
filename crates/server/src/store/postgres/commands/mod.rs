//! Commands, batches and idempotency keys in PostgreSQL.
//!
//! What the dispatcher writes in one turn is one call of a function in the
//! database: one round trip and one transaction. Nodes that write at once to
//! the same devices, keys or batches take turns there.

mod batches;
mod row;
#[cfg(test)]
mod tests;
mod writes;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::command::{BatchReport, Command};
use dormouse_core::ids::{BatchId, CommandId, DeviceKey};
use dormouse_core::ports::nodes::NodeId;
use dormouse_core::ports::{CommandStore, CommandWrite, CommandWritten, PortError, Remembered};
use serde_json::Value;
use uuid::Uuid;

use super::Postgres;
use super::convert::{Moment, cleaned, key_sql, storable};
use row::{COLUMNS, command_of};

/// Commands in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresCommands(Postgres);

impl PostgresCommands {
    /// The commands in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }

    async fn commands(
        &self,
        condition: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Command>, PortError> {
        let sql = format!("SELECT {COLUMNS} FROM commands c WHERE {condition}");
        let rows = self.0.query(&sql, values).await?;
        rows.iter().map(command_of).collect()
    }
}

#[async_trait]
impl CommandStore for PostgresCommands {
    async fn commit(&self, writes: Vec<CommandWrite>) -> Result<Vec<CommandWritten>, PortError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT w.o_write, w.o_outcome, (w.o_key).fingerprint,
                    (w.o_key).command AS made_command, (w.o_key).batch AS made_batch, {}
             FROM dormouse_commit_commands($1) w",
            COLUMNS.replace("c.", "(w.o_command).")
        );
        let list = cleaned(writes.iter().map(writes::as_json).collect::<Value>());
        let rows = self.0.query(&sql, &[&list]).await?;
        writes::read(&rows, writes.len())
    }

    async fn get(&self, ids: &[CommandId]) -> Result<Vec<Command>, PortError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.commands("c.id = ANY($1)", &[&ids]).await
    }

    async fn pending(&self) -> Result<Vec<Command>, PortError> {
        self.commands("c.state = 'pending'", &[]).await
    }

    async fn pending_of(&self, devices: &[DeviceKey]) -> Result<Vec<Command>, PortError> {
        let devices: Vec<i32> = devices.iter().map(|key| key_sql(*key)).collect();
        self.commands("c.state = 'pending' AND c.device = ANY($1)", &[&devices])
            .await
    }

    async fn of_device(
        &self,
        device: DeviceKey,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>, PortError> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        self.commands(
            "c.device = $1 AND c.id < $2 ORDER BY c.id DESC LIMIT $3",
            &[&key_sql(device), &before, &i64::from(limit)],
        )
        .await
    }

    async fn remembered(
        &self,
        caller: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Remembered>, PortError> {
        let sql = "SELECT fingerprint, command AS made_command, batch AS made_batch
            FROM idempotency_keys WHERE caller = $1 AND key = $2 AND used_at >= $3";
        let row = self
            .0
            .query_opt(sql, &[&storable(caller), &storable(key), &Moment(since)])
            .await?;
        row.as_ref().map(writes::remembered).transpose()
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchReport>, PortError> {
        batches::report(&self.0, id).await
    }

    async fn nodes_with_waiting_items(&self) -> Result<Vec<NodeId>, PortError> {
        batches::waiting_nodes(&self.0).await
    }

    async fn interrupt_batches(&self, nodes: &[NodeId]) -> Result<usize, PortError> {
        batches::interrupt(&self.0, nodes).await
    }

    async fn purge(
        &self,
        commands_before: Timestamp,
        keys_before: Timestamp,
        limit: u32,
    ) -> Result<usize, PortError> {
        batches::purge(&self.0, commands_before, keys_before, limit).await
    }
}
