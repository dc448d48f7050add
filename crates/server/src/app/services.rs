//! Puts the services together.

use std::sync::Arc;

use dormouse_core::clock::Clock;
use dormouse_core::directory::Directory;
use dormouse_core::live::LiveHub;
use dormouse_core::ports::{EventStore, IncidentStore};
use dormouse_core::presence::OfflineAfter;
use dormouse_core::services::access::{Access, AccessParts};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::dispatcher::{DispatchLoop, Dispatcher, DispatcherParts, dispatcher};
use dormouse_core::services::drain::Drain;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::fleet::{Fleet, FleetParts};
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::ingest::Ingest;
use dormouse_core::services::presence::{NeverBehind, PresenceParts, PresenceTracker};
use dormouse_core::services::registry::{Registry, RegistryParts};

use super::engines::Engines;
use crate::bridge::{
    CommandFleet, CommandOutlet, DeviceChanges, DeviceChangesParts, Inflow, InflowParts,
    JournalKeeper, KeeperParts, LiveView,
};
use crate::config::Config;
use crate::mqtt::BrokerLink;
use crate::password::Argon2Hasher;
use crate::store::sqlite::{
    SqliteAudit, SqliteDevices, SqliteEvents, SqliteIncidents, SqlitePeople, SqliteSettings,
};

/// What services are made of.
pub(super) struct ServicesParts<'a> {
    pub(super) config: &'a Config,
    pub(super) engines: &'a Engines,
    pub(super) link: Arc<BrokerLink>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    /// The devices.
    pub registry: Arc<Registry>,
    /// People, sessions, tokens.
    pub access: Arc<Access>,
    /// Who changed what.
    pub audit: Arc<AuditLog>,
    /// The way in.
    pub ingest: Arc<Ingest>,
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// What happened together.
    pub incidents: Arc<Incidents>,
    /// Who watches.
    pub live: Arc<LiveHub>,
    /// The fleet as watchers see it.
    pub fleet: Arc<Fleet>,
    /// Presence and the latest samples, for lists.
    pub view: Arc<LiveView>,
    /// Commands.
    pub dispatcher: Arc<Dispatcher>,
    /// The way out to devices.
    pub link: Arc<BrokerLink>,
}

/// What runs in the background.
#[derive(Debug)]
pub(super) struct Loops {
    pub(super) dispatch: DispatchLoop,
    pub(super) drain: Arc<Drain>,
}

impl Services {
    pub(super) async fn build(parts: ServicesParts<'_>) -> anyhow::Result<(Self, Loops)> {
        let ServicesParts { engines, clock, .. } = &parts;
        let changes = Arc::new(DeviceChanges::default());
        let file = &engines.dormouse;
        let audit = Arc::new(AuditLog::new(
            Arc::new(SqliteAudit::new(file.clone())),
            Arc::clone(clock),
        ));
        let registry = registry(&parts, &changes, &audit).await?;
        let access = access(file, &audit, clock)?;
        let watching = Watching::build(&registry, engines, clock).await?;
        let inflow = Arc::new(Inflow::new(InflowParts {
            registry: Arc::clone(&registry),
            presence: Arc::clone(&watching.presence),
            live: Arc::clone(&watching.live),
            events: Arc::clone(&watching.events),
        }));
        let ingest = Arc::new(Ingest::new(
            Arc::clone(&engines.journal) as _,
            Arc::clone(&engines.hot) as _,
            Arc::clone(&inflow) as _,
        ));
        let (dispatcher, mut dispatch) = commands(&parts, &registry, &watching, &audit);
        dispatch.recover().await?;
        inflow.connect(Arc::clone(&dispatcher));
        let drain = drain(&registry, &inflow, &watching, &ingest, engines).await?;
        changes.connect(DeviceChangesParts {
            ingest: Arc::clone(&ingest),
            presence: Arc::clone(&watching.presence),
            hot: Arc::clone(&engines.hot) as _,
            live: Arc::clone(&watching.live),
            events: Arc::clone(&watching.events),
            clock: Arc::clone(clock),
        });
        let services = Self {
            registry,
            access,
            audit,
            ingest,
            presence: watching.presence,
            events: watching.events,
            incidents: watching.incidents,
            live: watching.live,
            fleet: watching.fleet,
            view: watching.view,
            dispatcher,
            link: Arc::clone(&parts.link),
        };
        Ok((services, Loops { dispatch, drain }))
    }
}

async fn registry(
    parts: &ServicesParts<'_>,
    changes: &Arc<DeviceChanges>,
    audit: &Arc<AuditLog>,
) -> anyhow::Result<Arc<Registry>> {
    let file = &parts.engines.dormouse;
    let registry = Registry::load(RegistryParts {
        store: Arc::new(SqliteDevices::new(file.clone())),
        settings: Arc::new(SqliteSettings::new(file.clone())),
        audit: Arc::clone(audit),
        sessions: Arc::clone(&parts.link) as _,
        enrol: Arc::clone(&parts.link) as _,
        watchers: vec![Arc::clone(changes) as _],
        join_mode: parts.config.registration.mode,
        pending_max: usize::try_from(parts.config.registration.pending_max)?,
        clock: Arc::clone(&parts.clock),
    });
    Ok(Arc::new(registry.await?))
}

fn commands(
    parts: &ServicesParts<'_>,
    registry: &Arc<Registry>,
    watching: &Watching,
    audit: &Arc<AuditLog>,
) -> (Arc<Dispatcher>, DispatchLoop) {
    dispatcher(DispatcherParts {
        store: Arc::new(parts.engines.commands.clone()),
        sink: Arc::clone(&parts.link) as _,
        fleet: Arc::new(CommandFleet {
            registry: Arc::clone(registry),
            presence: Arc::clone(&watching.presence),
            live: Arc::clone(&watching.live),
        }),
        outlet: Arc::new(CommandOutlet {
            live: Arc::clone(&watching.live),
            events: Arc::clone(&watching.events),
            audit: Arc::clone(audit),
        }),
        clock: Arc::clone(&parts.clock),
    })
}

fn access(
    file: &crate::store::sqlite::SqliteFile,
    audit: &Arc<AuditLog>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<Access>> {
    let people = Arc::new(SqlitePeople::new(file.clone()));
    Ok(Arc::new(Access::new(AccessParts {
        users: Arc::clone(&people) as _,
        sessions: Arc::clone(&people) as _,
        tokens: people,
        hasher: Arc::new(Argon2Hasher::new()?),
        audit: Arc::clone(audit),
        clock: Arc::clone(clock),
    })))
}

async fn drain(
    registry: &Arc<Registry>,
    inflow: &Arc<Inflow>,
    watching: &Watching,
    ingest: &Ingest,
    engines: &Engines,
) -> anyhow::Result<Arc<Drain>> {
    let keeper = JournalKeeper::new(KeeperParts {
        history: Arc::clone(&engines.history) as _,
        events: Arc::clone(&watching.event_store),
        registry: Arc::clone(registry),
        inflow: Arc::clone(inflow),
    });
    let saved = engines.progress.clone().map(|it| it.inboxes);
    let drain = Drain::resume(
        Arc::clone(&engines.journal) as _,
        Arc::new(keeper),
        saved.unwrap_or_default(),
        ingest,
    );
    Ok(Arc::new(drain.await?))
}

/// Presence, events and those who watch them.
struct Watching {
    event_store: Arc<dyn EventStore>,
    live: Arc<LiveHub>,
    events: Arc<EventLog>,
    incidents: Arc<Incidents>,
    presence: Arc<PresenceTracker>,
    view: Arc<LiveView>,
    fleet: Arc<Fleet>,
}

impl Watching {
    async fn build(
        registry: &Arc<Registry>,
        engines: &Engines,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let directory: Arc<dyn Directory> = Arc::clone(registry) as _;
        let event_store: Arc<dyn EventStore> =
            Arc::new(SqliteEvents::new(engines.dormouse.clone()));
        let incident_store: Arc<dyn IncidentStore> =
            Arc::new(SqliteIncidents::new(engines.dormouse.clone()));
        let live = Arc::new(LiveHub::new(Arc::clone(&directory)));
        let events = Arc::new(EventLog::new(
            Arc::clone(&event_store),
            Arc::clone(&live),
            Arc::clone(clock),
        ));
        let incidents = Arc::new(Incidents::new(
            incident_store,
            Arc::clone(&directory),
            Arc::clone(&events),
            Arc::clone(clock),
        ));
        incidents.restore().await?;
        let presence = Arc::new(PresenceTracker::new(PresenceParts {
            offline_after: OfflineAfter::Auto,
            directory: Arc::clone(&directory),
            events: Arc::clone(&events),
            incidents: Arc::clone(&incidents),
            intake: Arc::new(NeverBehind),
            clock: Arc::clone(clock),
        }));
        presence.restore(&events.last_presence().await?);
        let view = Arc::new(LiveView {
            presence: Arc::clone(&presence),
            hot: Arc::clone(&engines.hot) as _,
        });
        let fleet = Arc::new(Fleet::new(FleetParts {
            directory,
            presence: Arc::clone(&presence),
            readings: Arc::clone(&view) as _,
            events: Arc::clone(&events),
            clock: Arc::clone(clock),
            version: env!("CARGO_PKG_VERSION"),
        }));
        Ok(Self {
            event_store,
            live,
            events,
            incidents,
            presence,
            view,
            fleet,
        })
    }
}
