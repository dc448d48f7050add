//! The database in the data folder: three SQLite files.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use dormouse_core::ports::PortError;
use dormouse_core::site::SiteZone;

use super::{Part, SiteStores, Stores};
use crate::datadir::DataDir;
use crate::store::sqlite::{
    DORMOUSE, SqliteAudit, SqliteCommands, SqliteDevices, SqliteEvents, SqliteFile, SqliteHistory,
    SqliteIncidents, SqlitePeople, SqliteSettings, Synchronous,
};

const ENGINE: &str = "sqlite";

/// Opens what the command line works on.
pub(super) fn site(data: &DataDir) -> anyhow::Result<SiteStores> {
    let file = SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Full)?;
    Ok(site_of(&file))
}

/// Opens all of it.
pub(super) async fn open(data: &DataDir, zone: &SiteZone) -> anyhow::Result<Stores> {
    let file = SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Full)?;
    let commands = SqliteCommands::open(&data.commands_db())?;
    let history = SqliteHistory::open(&data.history_db(), zone.clone())
        .await
        .context("opening history")?;
    let history = Arc::new(history);
    let site = site_of(&file);
    Ok(Stores {
        events: Arc::new(SqliteEvents::new(file.clone())),
        incidents: Arc::new(SqliteIncidents::new(file)),
        commands: Arc::new(commands.clone()),
        history: Arc::clone(&history) as _,
        upkeep: Arc::clone(&history) as _,
        shared: None,
        parts: vec![
            Arc::new(HistoryPart(history)),
            Arc::new(FilePart {
                name: "commands",
                file: commands.file().clone(),
            }),
            Arc::clone(&site.part),
        ],
        site,
    })
}

fn site_of(file: &SqliteFile) -> SiteStores {
    let people = Arc::new(SqlitePeople::new(file.clone()));
    SiteStores {
        devices: Arc::new(SqliteDevices::new(file.clone())),
        settings: Arc::new(SqliteSettings::new(file.clone())),
        users: Arc::clone(&people) as _,
        sessions: Arc::clone(&people) as _,
        tokens: people,
        audit: Arc::new(SqliteAudit::new(file.clone())),
        part: Arc::new(FilePart {
            name: "db",
            file: file.clone(),
        }),
    }
}

/// A file that needs nothing done to it before it is closed.
struct FilePart {
    name: &'static str,
    file: SqliteFile,
}

struct HistoryPart(Arc<SqliteHistory>);

#[async_trait]
impl Part for FilePart {
    fn name(&self) -> &'static str {
        self.name
    }
    fn engine(&self) -> &'static str {
        ENGINE
    }
    async fn probe(&self) -> Result<(), PortError> {
        self.file.probe().await
    }
    async fn close(&self) {
        self.file.close().await;
    }
}

#[async_trait]
impl Part for HistoryPart {
    fn name(&self) -> &'static str {
        "history"
    }
    fn engine(&self) -> &'static str {
        ENGINE
    }
    async fn probe(&self) -> Result<(), PortError> {
        self.0.probe().await
    }
    async fn close(&self) {
        self.0.close().await;
    }
}
