//! What the commands about devices and people work on: the database itself,
//! whether or not a server runs on it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use dormouse_core::access::{Grant, Role, Scope};
use dormouse_core::clock::Clock;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{EnrolSink, KickReason, SessionControl};
use dormouse_core::services::access::{Access, AccessParts};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::registry::{JoinMode, Registry, RegistryParts};
use dormouse_core::wire::EnrolBody;

use crate::clock::SystemClock;
use crate::datadir::DataDir;
use crate::password::Argon2Hasher;
use crate::store::sqlite::{
    DORMOUSE, SqliteAudit, SqliteDevices, SqliteFile, SqlitePeople, SqliteSettings, Synchronous,
};

/// Which site.
#[derive(Debug, clap::Args)]
pub(super) struct SiteArgs {
    /// Folder of the databases; a server may run on it
    #[arg(long, value_name = "DIR", default_value = "data", global = true)]
    data: PathBuf,
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
    file: SqliteFile,
    clock: Arc<dyn Clock>,
    audit: Arc<AuditLog>,
}

impl Site {
    /// Opens the database, and makes it where there is none.
    pub(super) fn open(args: &SiteArgs) -> anyhow::Result<Self> {
        let path = DataDir::open(&args.data)?.dormouse_db();
        let file = SqliteFile::open(&path, DORMOUSE, Synchronous::Full)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let store = Arc::new(SqliteAudit::new(file.clone()));
        let audit = Arc::new(AuditLog::new(store, Arc::clone(&clock)));
        Ok(Self { file, clock, audit })
    }

    /// People and tokens.
    pub(super) fn access(&self) -> anyhow::Result<Access> {
        let people = Arc::new(SqlitePeople::new(self.file.clone()));
        Ok(Access::new(AccessParts {
            users: Arc::clone(&people) as _,
            sessions: Arc::clone(&people) as _,
            tokens: people,
            hasher: Arc::new(Argon2Hasher::new()?),
            audit: Arc::clone(&self.audit),
            clock: Arc::clone(&self.clock),
        }))
    }

    /// Devices. A running server hears of changes within a second.
    pub(super) async fn registry(&self) -> anyhow::Result<Registry> {
        let registry = Registry::load(RegistryParts {
            store: Arc::new(SqliteDevices::new(self.file.clone())),
            settings: Arc::new(SqliteSettings::new(self.file.clone())),
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
        self.file.close().await;
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
