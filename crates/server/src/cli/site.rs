//! What the commands about devices and people work on: the database itself,
//! whether or not a server runs on it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use dormouse_core::access::{Grant, Role, Scope};
use dormouse_core::clock::Clock;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{DeviceStore, EnrolSink, KickReason, SessionControl};
use dormouse_core::services::access::{Access, AccessParts};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::registry::{JoinMode, Registry, RegistryParts};
use dormouse_core::wire::EnrolBody;

use super::ConfigArgs;
use super::serve::tell;
use crate::app::SiteStores;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::DataDir;
use crate::password::Argon2Hasher;

/// Which site.
#[derive(Debug, clap::Args)]
pub(super) struct SiteArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Folder of the databases; a server may run on it
    #[arg(long, value_name = "DIR", default_value = "data", global = true)]
    data: PathBuf,
}

impl SiteArgs {
    /// The settings.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        self.config.load()
    }
}

/// What somebody may do, and where.
#[derive(Debug, clap::Args)]
pub(super) struct GrantArgs {
    /// What they may do
    #[arg(long, value_parser = ["admin", "manager", "viewer", "resident"])]
    role: String,
    /// The place the role covers, such as A/3; the whole site if absent
    #[arg(long, value_name = "PLACE", default_value = "")]
    scope: String,
}

impl GrantArgs {
    pub(super) fn grant(&self) -> anyhow::Result<Grant> {
        Ok(Grant {
            role: Role::from_name(&self.role).context("--role: unknown")?,
            scope: Scope::parse(&self.scope).context("--scope")?,
        })
    }
}

/// An open site.
pub(super) struct Site {
    stores: SiteStores,
    clock: Arc<dyn Clock>,
    audit: Arc<AuditLog>,
}

impl Site {
    /// Opens the database, and makes it where there is none.
    pub(super) async fn open(args: &SiteArgs) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let config = args.config.load()?;
        let is_new =
            config.database.is_sqlite() && !DataDir::existing(&args.data).dormouse_db().exists();
        let stores = SiteStores::open(&config, &args.data, Arc::clone(&clock)).await?;
        if is_new {
            tell(&format!(
                "There was no site in {}: made a new one. For one elsewhere, name its folder with --data.",
                args.data.display()
            ));
        }
        let audit = AuditLog::new(Arc::clone(&stores.audit), Arc::clone(&clock));
        Ok(Self {
            stores,
            clock,
            audit: Arc::new(audit),
        })
    }

    /// People and tokens.
    pub(super) fn access(&self) -> anyhow::Result<Access> {
        Ok(Access::new(AccessParts {
            users: Arc::clone(&self.stores.users),
            sessions: Arc::clone(&self.stores.sessions),
            tokens: Arc::clone(&self.stores.tokens),
            hasher: Arc::new(Argon2Hasher::new()?),
            audit: Arc::clone(&self.audit),
            clock: Arc::clone(&self.clock),
        }))
    }

    /// Devices as they are stored.
    pub(super) fn devices(&self) -> &dyn DeviceStore {
        &*self.stores.devices
    }

    /// Devices. A running server hears of changes within a second.
    pub(super) async fn registry(&self) -> anyhow::Result<Registry> {
        let registry = Registry::load(RegistryParts {
            store: Arc::clone(&self.stores.devices),
            settings: Arc::clone(&self.stores.settings),
            audit: Arc::clone(&self.audit),
            sessions: Arc::new(NoBroker),
            enrol: Arc::new(NoBroker),
            watchers: Vec::new(),
            clock: Arc::clone(&self.clock),
            join_mode: JoinMode::Closed,
            pending_max: 0,
        });
        registry.await.context("reading the devices")
    }

    /// Closes the database.
    pub(super) async fn close(self) {
        self.stores.close().await;
    }
}

/// No device is connected to this process; the server that has the sessions
/// ends them when it reads the change.
struct NoBroker;

impl SessionControl for NoBroker {
    fn kick(&self, _device: &DeviceId, _reason: KickReason) {}
}

impl EnrolSink for NoBroker {
    fn hand_over(&self, _device: &DeviceId, _credentials: &EnrolBody) -> bool {
        false
    }
}
