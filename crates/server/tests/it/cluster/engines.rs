//! The servers behind the nodes.

use std::path::Path;

use dormouse_testbed::mosquitto::Mosquitto;
use dormouse_testbed::postgres::{Database, Options, Postgres};
use dormouse_testbed::redis::Redis;
use tempfile::TempDir;

use crate::support::Server;

/// A Mosquitto, a Redis and a PostgreSQL, and the folders of the nodes.
pub(super) struct Engines {
    pub(super) mosquitto: Mosquitto,
    pub(super) redis: Redis,
    pub(super) postgres: Postgres,
    pub(super) database: Database,
    folders: TempDir,
}

impl Engines {
    /// Starts all three with nothing in them.
    pub(super) async fn start() -> Self {
        let starting = tokio::task::spawn_blocking(|| {
            let postgres = Postgres::start(&Options::default()).unwrap();
            Self {
                mosquitto: Mosquitto::start(&Default::default()).unwrap(),
                redis: Redis::start().unwrap(),
                database: postgres.database().unwrap(),
                postgres,
                folders: tempfile::tempdir().unwrap(),
            }
        });
        starting.await.unwrap()
    }

    /// Starts `count` nodes at once.
    pub(super) async fn nodes(&self, count: usize) -> Vec<Server> {
        let folders: Vec<_> = (0..count)
            .map(|n| self.folders.path().join(format!("node-{n}")))
            .collect();
        futures_util::future::join_all(folders.iter().map(|folder| self.node(folder))).await
    }

    /// Starts a node with its journal in `data`.
    pub(super) async fn node(&self, data: &Path) -> Server {
        let environment = self.environment();
        let environment: Vec<_> = environment
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        Server::start_with(data, &environment).await
    }

    /// The settings that name the engines.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "DORMOUSE__BROKER__URL",
                format!("mqtt://127.0.0.1:{}", self.mosquitto.port()),
            ),
            ("DORMOUSE__HOT__URL", self.redis.url()),
            ("DORMOUSE__DATABASE__URL", self.database.url.clone()),
        ]
    }
}
