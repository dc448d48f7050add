//! Puts the services together.

use std::sync::Arc;

use dormouse_core::clock::Clock;
use dormouse_core::live::LiveHub;
use dormouse_core::retention::RetentionRules;
use dormouse_core::services::access::{Access, AccessParts};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::dispatcher::{DispatchLoop, Dispatcher, DispatcherParts, dispatcher};
use dormouse_core::services::drain::Drain;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::fleet::Fleet;
use dormouse_core::services::history::History;
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::ingest::Ingest;
use dormouse_core::services::presence::PresenceTracker;
use dormouse_core::services::refill::Refill;
use dormouse_core::services::registry::{Registry, RegistryParts};
use dormouse_core::services::retention::Retention;
use dormouse_core::services::statistics::Statistics;

use super::engines::Engines;
use super::stores::SiteStores;
use super::watching::Watching;
use crate::bridge::{
    CommandFleet, CommandOutlet, DeviceChanges, DeviceChangesParts, Inflow, InflowParts,
    JournalKeeper, KeeperParts, LiveView,
};
use crate::config::Config;
use crate::mqtt::BrokerLink;
use crate::password::Argon2Hasher;

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
    /// What was measured, for charts and exports.
    pub history: History,
    /// Energy and completeness of the fleet.
    pub statistics: Arc<Statistics>,
    /// Drops what is too old.
    pub retention: Arc<Retention>,
    /// Brings the ring back after a start.
    pub refill: Arc<Refill>,
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
        let stores = &engines.stores;
        let audit = Arc::new(AuditLog::new(
            Arc::clone(&stores.site.audit),
            Arc::clone(clock),
        ));
        let registry = registry(&parts, &changes, &audit).await?;
        let access = access(&stores.site, &audit, clock)?;
        let (history, statistics) = measured(&parts, &registry);
        let watching = Watching::build(&parts, &registry, &statistics).await?;
        let inflow = Arc::new(Inflow::new(InflowParts {
            registry: Arc::clone(&registry),
            presence: Arc::clone(&watching.presence),
            live: Arc::clone(&watching.live),
            events: Arc::clone(&watching.events),
        }));
        let ingest = Arc::new(Ingest::new(
            Arc::clone(&engines.journal) as _,
            Arc::clone(&engines.hot),
            Arc::clone(&inflow) as _,
        ));
        watching.view.connect(Arc::clone(&ingest));
        let (dispatcher, mut dispatch) = commands(&parts, &registry, &watching, &audit);
        dispatch.recover().await?;
        inflow.connect(Arc::clone(&dispatcher));
        let drain = drain(&registry, &inflow, &ingest, engines).await?;
        changes.connect(DeviceChangesParts {
            ingest: Arc::clone(&ingest),
            presence: Arc::clone(&watching.presence),
            hot: Arc::clone(&engines.hot),
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
            history,
            statistics,
            retention: retention(&parts),
            refill: Arc::new(Refill::new(
                Arc::clone(&engines.hot),
                Arc::clone(&stores.history),
                Arc::clone(clock),
            )),
            dispatcher,
            link: Arc::clone(&parts.link),
        };
        Ok((services, Loops { dispatch, drain }))
    }
}

fn measured(parts: &ServicesParts<'_>, registry: &Arc<Registry>) -> (History, Arc<Statistics>) {
    let (engines, clock) = (parts.engines, &parts.clock);
    let history = History::new(
        Arc::clone(&engines.stores.history),
        Arc::clone(registry) as _,
        Arc::clone(clock),
        engines.zone.clone(),
    );
    let statistics = Statistics::new(
        Arc::clone(&engines.stores.history),
        Arc::clone(registry) as _,
        Arc::clone(clock),
        engines.zone.clone(),
    );
    (history, Arc::new(statistics))
}

fn retention(parts: &ServicesParts<'_>) -> Arc<Retention> {
    let keep = parts.config.retention;
    let rules = RetentionRules {
        raw_days: keep.raw_days,
        minute_days: keep.minute_days,
        budget_bytes: (keep.history_budget_gib > 0)
            .then(|| u64::from(keep.history_budget_gib) << 30),
    };
    let engines = parts.engines;
    Arc::new(Retention::new(
        Arc::clone(&engines.stores.upkeep),
        Arc::clone(&parts.clock),
        engines.zone.clone(),
        rules,
    ))
}

async fn registry(
    parts: &ServicesParts<'_>,
    changes: &Arc<DeviceChanges>,
    audit: &Arc<AuditLog>,
) -> anyhow::Result<Arc<Registry>> {
    let stores = &parts.engines.stores.site;
    let registry = Registry::load(RegistryParts {
        store: Arc::clone(&stores.devices),
        settings: Arc::clone(&stores.settings),
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
        store: Arc::clone(&parts.engines.stores.commands),
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
        nodes: None,
    })
}

fn access(
    stores: &SiteStores,
    audit: &Arc<AuditLog>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<Access>> {
    Ok(Arc::new(Access::new(AccessParts {
        users: Arc::clone(&stores.users),
        sessions: Arc::clone(&stores.sessions),
        tokens: Arc::clone(&stores.tokens),
        hasher: Arc::new(Argon2Hasher::new()?),
        audit: Arc::clone(audit),
        clock: Arc::clone(clock),
    })))
}

async fn drain(
    registry: &Arc<Registry>,
    inflow: &Arc<Inflow>,
    ingest: &Ingest,
    engines: &Engines,
) -> anyhow::Result<Arc<Drain>> {
    let keeper = JournalKeeper::new(KeeperParts {
        history: Arc::clone(&engines.stores.history),
        events: Arc::clone(&engines.stores.events),
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
