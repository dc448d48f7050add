//! The database behind the store ports, whichever it is.

mod postgres;
mod sqlite;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::clock::Clock;
use dormouse_core::ports::history::{HistoryStore, HistoryUpkeep};
use dormouse_core::ports::intake::IntakeStore;
use dormouse_core::ports::nodes::LeaseStore;
use dormouse_core::ports::{
    AuditStore, CommandStore, DeviceStore, EventStore, IncidentStore, PortError, SessionStore,
    SettingStore, TokenStore, UserStore,
};
use dormouse_core::site::SiteZone;

use crate::config::Config;
use crate::datadir::DataDir;
use crate::store::postgres::PostgresHistory;

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
    /// What only a database of several nodes has.
    pub(super) shared: Option<Shared>,
    /// In the order in which they are closed.
    pub(super) parts: Vec<Arc<dyn Part>>,
}

/// What only a database that several nodes share has.
pub(super) struct Shared {
    pub(super) leases: Arc<dyn LeaseStore>,
    pub(super) intake: Arc<dyn IntakeStore>,
    pub(super) history: Arc<PostgresHistory>,
}

impl SiteStores {
    /// Opens the part of the database that `config` names or, for SQLite,
    /// that lies in `data`; makes it where there is none.
    pub(crate) async fn open(
        config: &Config,
        data: &Path,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        if config.database.is_sqlite() {
            sqlite::site(&DataDir::open(data)?)
        } else {
            postgres::site(config, clock).await
        }
    }

    /// Writes what is left and closes the database.
    pub(crate) async fn close(&self) {
        self.part.close().await;
    }
}

impl Stores {
    /// Opens the database that `config` names, or the one in `data`.
    pub(super) async fn open(
        config: &Config,
        data: &DataDir,
        node: &str,
        zone: &SiteZone,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        if config.database.is_sqlite() {
            sqlite::open(data, zone).await
        } else {
            postgres::open(config, node, zone, clock).await
        }
    }
}
