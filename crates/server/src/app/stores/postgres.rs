//! The database on a server: PostgreSQL, with TimescaleDB where it has that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use dormouse_core::clock::Clock;
use dormouse_core::ports::PortError;
use dormouse_core::site::SiteZone;

use super::{Part, Shared, SiteStores, Stores};
use crate::config::Config;
use crate::store::postgres::{
    DORMOUSE, Flavour, HISTORY, Postgres, PostgresAudit, PostgresCommands, PostgresDevices,
    PostgresEvents, PostgresHistory, PostgresIncidents, PostgresIntake, PostgresLeases,
    PostgresPeople, PostgresSettingStore, PostgresSettings,
};

/// Connections of a command line.
const FEW: usize = 2;

/// Opens what the command line works on.
pub(super) async fn site(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<SiteStores> {
    let settings = PostgresSettings {
        pool_max: FEW,
        ..settings(config, "cli")?
    };
    let postgres = Postgres::open(&settings, clock, &[DORMOUSE]).await?;
    Ok(site_of(&postgres, Flavour::Plain))
}

/// Opens all of it.
pub(super) async fn open(
    config: &Config,
    node: &str,
    zone: &SiteZone,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Stores> {
    let settings = settings(config, node)?;
    let postgres = Postgres::open(&settings, clock, &[DORMOUSE, HISTORY]).await?;
    let history = PostgresHistory::open(postgres.clone(), zone.clone())
        .await
        .context("database.url: opening history")?;
    let history = Arc::new(history);
    let site = site_of(&postgres, history.flavour());
    Ok(Stores {
        events: Arc::new(PostgresEvents::new(postgres.clone())),
        incidents: Arc::new(PostgresIncidents::new(postgres.clone())),
        commands: Arc::new(PostgresCommands::new(postgres.clone())),
        history: Arc::clone(&history) as _,
        upkeep: Arc::clone(&history) as _,
        shared: Some(Shared {
            leases: Arc::new(PostgresLeases::new(postgres)),
            intake: Arc::new(PostgresIntake::new(Arc::clone(&history))),
            history,
        }),
        parts: vec![Arc::clone(&site.part)],
        site,
    })
}

fn settings(config: &Config, node: &str) -> anyhow::Result<PostgresSettings> {
    let database = &config.database;
    Ok(PostgresSettings {
        url: database.url.clone(),
        password_file: (!database.password_file.is_empty())
            .then(|| PathBuf::from(&database.password_file)),
        pool_max: usize::try_from(database.pool_max)?,
        connect_timeout: Duration::from_secs(database.connect_timeout_s.into()),
        node: node.to_owned(),
    })
}

fn site_of(postgres: &Postgres, flavour: Flavour) -> SiteStores {
    let people = Arc::new(PostgresPeople::new(postgres.clone()));
    SiteStores {
        devices: Arc::new(PostgresDevices::new(postgres.clone())),
        settings: Arc::new(PostgresSettingStore::new(postgres.clone())),
        users: Arc::clone(&people) as _,
        sessions: Arc::clone(&people) as _,
        tokens: people,
        audit: Arc::new(PostgresAudit::new(postgres.clone())),
        part: Arc::new(Server {
            postgres: postgres.clone(),
            flavour,
        }),
    }
}

struct Server {
    postgres: Postgres,
    flavour: Flavour,
}

#[async_trait]
impl Part for Server {
    fn name(&self) -> &'static str {
        "db"
    }
    fn engine(&self) -> &'static str {
        match self.flavour {
            Flavour::Plain => "postgresql",
            Flavour::Timescale => "timescaledb",
        }
    }
    async fn probe(&self) -> Result<(), PortError> {
        self.postgres.probe().await
    }
    async fn close(&self) {
        self.postgres.close();
    }
}
