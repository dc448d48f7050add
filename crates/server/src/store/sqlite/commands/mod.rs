//! Commands, batches and idempotency keys in `commands.db`.

mod batches;
mod row;
mod writes;

use std::path::Path;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::command::{BatchReport, Command};
use dormouse_core::ids::{BatchId, CommandId, DeviceKey};
use dormouse_core::ports::nodes::NodeId;
use dormouse_core::ports::{CommandStore, CommandWrite, CommandWritten, PortError, Remembered};
use rusqlite::params;
use uuid::Uuid;

use super::{Migration, OpenError, SqliteFile, Synchronous};
use row::{COLUMNS, command_of};

pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        name: "0001_commands",
        sql: include_str!("../../../../migrations/sqlite/commands/0001_commands.sql"),
    },
    Migration {
        name: "0002_batch_nodes",
        sql: include_str!("../../../../migrations/sqlite/commands/0002_batch_nodes.sql"),
    },
];

/// Commands in a file of their own, so that they wait for nobody's fsync.
#[derive(Debug, Clone)]
pub struct SqliteCommands(SqliteFile);

impl SqliteCommands {
    /// Opens or creates the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or brought up to date.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        SqliteFile::open(path, MIGRATIONS, Synchronous::Behind).map(Self)
    }

    /// The file, to ask after it and to close it.
    #[must_use]
    pub const fn file(&self) -> &SqliteFile {
        &self.0
    }
}

#[async_trait]
impl CommandStore for SqliteCommands {
    async fn commit(&self, writes: Vec<CommandWrite>) -> Result<Vec<CommandWritten>, PortError> {
        self.0
            .write(move |db| writes.iter().map(|it| writes::write(db, it)).collect())
            .await
    }

    async fn get(&self, ids: &[CommandId]) -> Result<Vec<Command>, PortError> {
        let ids = ids.to_vec();
        self.0
            .read(move |db| {
                let found = ids.iter().map(|id| row::find(db, *id));
                found.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn pending(&self) -> Result<Vec<Command>, PortError> {
        self.0
            .read(|db| {
                let sql = format!("SELECT {COLUMNS} FROM command WHERE state = 'pending'");
                let mut statement = db.prepare(&sql)?;
                statement.query_map([], command_of)?.collect()
            })
            .await
    }

    async fn pending_of(&self, devices: &[DeviceKey]) -> Result<Vec<Command>, PortError> {
        let devices = devices.to_vec();
        self.0
            .read(move |db| {
                let mut statement = db.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM command WHERE device = ?1 AND state = 'pending'"
                ))?;
                let mut found = Vec::new();
                for device in devices {
                    for command in statement.query_map([device.0], command_of)? {
                        found.push(command?);
                    }
                }
                Ok(found)
            })
            .await
    }

    async fn of_device(
        &self,
        device: DeviceKey,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>, PortError> {
        let before = before.map_or(Uuid::max(), |id| id.0);
        self.0
            .read(move |db| {
                let mut statement = db.prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM command WHERE device = ?1 AND id < ?2
                     ORDER BY id DESC LIMIT ?3"
                ))?;
                let rows = statement.query_map(params![device.0, before, limit], command_of)?;
                rows.collect()
            })
            .await
    }

    async fn remembered(
        &self,
        caller: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Remembered>, PortError> {
        let (caller, key) = (caller.to_owned(), key.to_owned());
        self.0
            .read(move |db| writes::remembered(db, &caller, &key, since))
            .await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchReport>, PortError> {
        self.0.read(move |db| batches::report(db, id)).await
    }

    async fn nodes_with_waiting_items(&self) -> Result<Vec<NodeId>, PortError> {
        self.0.read(batches::waiting_nodes).await
    }

    async fn interrupt_batches(&self, nodes: &[NodeId]) -> Result<usize, PortError> {
        let nodes = nodes.to_vec();
        self.0.write(move |db| batches::interrupt(db, &nodes)).await
    }

    async fn purge(
        &self,
        commands_before: Timestamp,
        keys_before: Timestamp,
        limit: u32,
    ) -> Result<usize, PortError> {
        self.0
            .write(move |db| writes::purge(db, commands_before, keys_before, limit))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteCommands::open(&dir.path().join("commands.db")).unwrap();
        dormouse_core::contract::command_store(&store).await;
    }

    #[tokio::test]
    async fn what_was_written_is_there_without_a_proper_close() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.db");
        let command = dormouse_core::contract::commands::sample(1, 1);
        let store = SqliteCommands::open(&path).unwrap();
        let insert = CommandWrite::Insert {
            command: std::sync::Arc::new(command.clone()),
            on_pending: dormouse_core::command::OnPending::Refuse,
            key: None,
        };
        store.commit(vec![insert]).await.unwrap();
        // What `kill -9` leaves behind: the files as they are now.
        let copy = tempfile::tempdir().unwrap();
        for name in ["commands.db", "commands.db-wal"] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        let survivor = SqliteCommands::open(&copy.path().join("commands.db")).unwrap();
        assert_eq!(survivor.pending().await.unwrap(), [command]);
    }

    #[tokio::test]
    async fn the_index_itself_refuses_a_second_pending_command() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commands.db");
        let store = SqliteCommands::open(&path).unwrap();
        let command = dormouse_core::contract::commands::sample(1, 1);
        let insert = |command: &Command| {
            let db = rusqlite::Connection::open(&path).unwrap();
            row::insert(&db, command)
        };
        insert(&command).unwrap();
        let second = dormouse_core::contract::commands::sample(1, 1);
        assert!(insert(&second).is_err());
        assert_eq!(store.pending().await.unwrap(), [command]);
    }
}
