//! The database behind the store ports, whichever it is.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use dormouse_core::ports::history::{HistoryStore, HistoryUpkeep};
use dormouse_core::ports::{
    AuditStore, CommandStore, DeviceStore, EventStore, IncidentStore, PortError, SessionStore,
    SettingStore, TokenStore, UserStore,
};
use dormouse_core::site::SiteZone;

use crate::config::Config;
use crate::datadir::DataDir;
use crate::store::sqlite::{
    DORMOUSE, SqliteAudit, SqliteCommands, SqliteDevices, SqliteEvents, SqliteFile, SqliteHistory,
    SqliteIncidents, SqlitePeople, SqliteSettings, Synchronous,
};

/// What tells whether a part of the database answers, and how it is closed.
#[async_trait]
pub(super) trait Part: Send + Sync {
    /// Its name in `/health`.
    fn name(&self) -> &'static str;
    /// Its engine in `/health`.
    fn engine(&self) -> &'static str;
    /// Whether it takes an empty write.
    async fn probe(&self) -> Result<(), PortError>;
    /// Writes what is left and closes it.
    async fn close(&self);
}

/// Devices, people, settings and the audit log: what the command line works
/// on as well, while a server runs.
#[derive(Clone)]
pub(crate) struct SiteStores {
    pub(crate) devices: Arc<dyn DeviceStore>,
    pub(crate) settings: Arc<dyn SettingStore>,
    pub(crate) users: Arc<dyn UserStore>,
    pub(crate) sessions: Arc<dyn SessionStore>,
    pub(crate) tokens: Arc<dyn TokenStore>,
    pub(crate) audit: Arc<dyn AuditStore>,
    part: Arc<dyn Part>,
}

/// The whole database.
pub(super) struct Stores {
    pub(super) site: SiteStores,
    pub(super) events: Arc<dyn EventStore>,
    pub(super) incidents: Arc<dyn IncidentStore>,
    pub(super) commands: Arc<dyn CommandStore>,
    pub(super) history: Arc<dyn HistoryStore>,
    pub(super) upkeep: Arc<dyn HistoryUpkeep>,
    /// In the order in which they are closed.
    pub(super) parts: Vec<Arc<dyn Part>>,
}

impl SiteStores {
    /// Opens the part of the database that `config` names or, for SQLite,
    /// that lies in `data`; makes it where there is none.
    #[expect(clippy::unused_async, reason = "one behind a network waits")]
    pub(crate) async fn open(_config: &Config, data: &Path) -> anyhow::Result<Self> {
        let path = DataDir::open(data)?.dormouse_db();
        let file = SqliteFile::open(&path, DORMOUSE, Synchronous::Full)?;
        Ok(Self::sqlite(&file))
    }

    /// Writes what is left and closes the database.
    pub(crate) async fn close(&self) {
        self.part.close().await;
    }

    fn sqlite(file: &SqliteFile) -> Self {
        let people = Arc::new(SqlitePeople::new(file.clone()));
        Self {
            devices: Arc::new(SqliteDevices::new(file.clone())),
            settings: Arc::new(SqliteSettings::new(file.clone())),
            users: Arc::clone(&people) as _,
            sessions: Arc::clone(&people) as _,
            tokens: people,
            audit: Arc::new(SqliteAudit::new(file.clone())),
            part: Arc::new(DormouseDb(file.clone())),
        }
    }
}

impl Stores {
    pub(super) async fn open(
        _config: &Config,
        data: &DataDir,
        zone: &SiteZone,
    ) -> anyhow::Result<Self> {
        let file = SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Full)?;
        let commands = SqliteCommands::open(&data.commands_db())?;
        let history = SqliteHistory::open(&data.history_db(), zone.clone())
            .await
            .context("opening history")?;
        let history = Arc::new(history);
        let site = SiteStores::sqlite(&file);
        Ok(Self {
            events: Arc::new(SqliteEvents::new(file.clone())),
            incidents: Arc::new(SqliteIncidents::new(file)),
            commands: Arc::new(commands.clone()),
            history: Arc::clone(&history) as _,
            upkeep: Arc::clone(&history) as _,
            parts: vec![
                Arc::new(HistoryDb(history)),
                Arc::new(CommandsDb(commands)),
                Arc::clone(&site.part),
            ],
            site,
        })
    }
}

struct DormouseDb(SqliteFile);
struct CommandsDb(SqliteCommands);
struct HistoryDb(Arc<SqliteHistory>);

#[async_trait]
impl Part for DormouseDb {
    fn name(&self) -> &'static str {
        "db"
    }
    fn engine(&self) -> &'static str {
        "sqlite"
    }
    async fn probe(&self) -> Result<(), PortError> {
        self.0.probe().await
    }
    async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl Part for CommandsDb {
    fn name(&self) -> &'static str {
        "commands"
    }
    fn engine(&self) -> &'static str {
        "sqlite"
    }
    async fn probe(&self) -> Result<(), PortError> {
        self.0.probe().await
    }
    async fn close(&self) {
        self.0.close().await;
    }
}

#[async_trait]
impl Part for HistoryDb {
    fn name(&self) -> &'static str {
        "history"
    }
    fn engine(&self) -> &'static str {
        "sqlite"
    }
    async fn probe(&self) -> Result<(), PortError> {
        self.0.probe().await
    }
    async fn close(&self) {
        self.0.close().await;
    }
}
