//! Puts the services together.

use std::sync::Arc;

use dormouse_core::clock::Clock;
use dormouse_core::live::LiveHub;
use dormouse_core::ports::DeviceWatcher;
use dormouse_core::retention::RetentionRules;
use dormouse_core::services::access::{Access, AccessParts};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::dispatcher::{
    CommandNodes, DispatchLoop, Dispatcher, DispatcherParts, dispatcher,
};
use dormouse_core::services::events::EventLog;
use dormouse_core::services::fleet::Fleet;
use dormouse_core::services::history::History;
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::intake::{Gate, WayIn};
use dormouse_core::services::nodes::{Nodes, NodesParts};
use dormouse_core::services::presence::PresenceTracker;
use dormouse_core::services::refill::Refill;
use dormouse_core::services::registry::{Registry, RegistryParts};
use dormouse_core::services::retention::Retention;
use dormouse_core::services::statistics::Statistics;

use super::doors::{Doors, Link};
use super::engines::Engines;
use super::hot::Hot;
use super::intake::{Intake, IntakeWork};
use super::node::Node;
use super::stores::SiteStores;
use super::watching::Watching;
use crate::bridge::{
    CommandFleet, CommandOutlet, DeviceChanges, DeviceChangesParts, DeviceHints, Inflow,
    InflowParts, LiveView,
};
use crate::config::Config;
use crate::password::Argon2Hasher;
use crate::tasks::Tasks;

/// What services are made of.
pub(super) struct ServicesParts<'a> {
    pub(super) config: &'a Config,
    pub(super) engines: &'a Engines,
    pub(super) doors: &'a Doors,
    pub(super) node: &'a Node,
    pub(super) tasks: &'a Tasks,
    pub(super) clock: Arc<dyn Clock>,
}

/// The services. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    /// This node among others; `None` where it is the only one.
    pub nodes: Option<Arc<Nodes>>,
    /// The devices.
    pub registry: Arc<Registry>,
    /// People, sessions, tokens.
    pub access: Arc<Access>,
    /// Who changed what.
    pub audit: Arc<AuditLog>,
    /// The way in.
    pub way_in: Arc<dyn WayIn>,
    /// What it has taken and refused.
    pub gate: Arc<dyn Gate>,
    /// What works behind it.
    pub(super) intake: IntakeWork,
    /// What is known by the second.
    pub(super) hot: Hot,
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
    pub link: Link,
}

/// What runs in the background.
#[derive(Debug)]
pub(super) struct Loops {
    pub(super) dispatch: DispatchLoop,
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
        let hints = Arc::new(DeviceHints::default());
        let watchers = [Arc::clone(&changes) as _, Arc::clone(&hints) as _];
        let registry = registry(&parts, watchers, &audit).await?;
        let access = access(&stores.site, &audit, clock)?;
        let directory = Arc::clone(&registry) as _;
        let hot = Hot::open(parts.config, directory, &parts.node.id, parts.tasks).await?;
        let (history, statistics) = measured(&parts, &registry);
        let watching = Watching::build(&parts, &hot, &registry, &statistics).await?;
        let inflow = inflow(&registry, &watching);
        let external = !parts.config.broker.is_embedded();
        let intake = Intake::build(engines, external, &hot.state, &registry, &inflow).await?;
        watching.view.connect(Arc::clone(&intake.gate));
        let (dispatcher, mut dispatch) = commands(&parts, &hot, &registry, &watching, &audit);
        dispatch.recover().await?;
        inflow.connect(Arc::clone(&dispatcher));
        changes.connect(DeviceChangesParts {
            gate: Arc::clone(&intake.gate),
            presence: Arc::clone(&watching.presence),
            hot: Arc::clone(&hot.state),
            live: Arc::clone(&watching.live),
            events: Arc::clone(&watching.events),
            clock: Arc::clone(clock),
        });
        let nodes = nodes(&parts, &hot, &watching, &registry, &dispatcher);
        if let Some(nodes) = &nodes {
            hints.connect(Arc::clone(nodes));
        }
        let services = Self {
            nodes,
            registry,
            access,
            audit,
            way_in: intake.way_in,
            gate: intake.gate,
            intake: intake.work,
            presence: watching.presence,
            events: watching.events,
            incidents: watching.incidents,
            live: watching.live,
            fleet: watching.fleet,
            view: watching.view,
            history,
            statistics,
            retention: retention(&parts),
            refill: refill(&parts, &hot),
            dispatcher,
            hot,
            link: parts.doors.link.clone(),
        };
        Ok((services, Loops { dispatch }))
    }
}

fn inflow(registry: &Arc<Registry>, watching: &Watching) -> Arc<Inflow> {
    Arc::new(Inflow::new(InflowParts {
        registry: Arc::clone(registry),
        presence: Arc::clone(&watching.presence),
        live: Arc::clone(&watching.live),
        events: Arc::clone(&watching.events),
    }))
}

fn refill(parts: &ServicesParts<'_>, hot: &Hot) -> Arc<Refill> {
    Arc::new(Refill::new(
        Arc::clone(&hot.state),
        Arc::clone(&parts.engines.stores.history),
        Arc::clone(&parts.clock),
    ))
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
    own: [Arc<dyn DeviceWatcher>; 2],
    audit: &Arc<AuditLog>,
) -> anyhow::Result<Arc<Registry>> {
    let stores = &parts.engines.stores.site;
    let mut watchers = parts.doors.watchers.clone();
    watchers.extend(own);
    let registry = Registry::load(RegistryParts {
        store: Arc::clone(&stores.devices),
        settings: Arc::clone(&stores.settings),
        audit: Arc::clone(audit),
        sessions: Arc::clone(&parts.doors.sessions),
        enrol: Arc::clone(&parts.doors.enrol),
        watchers,
        join_mode: parts.config.registration.mode,
        pending_max: usize::try_from(parts.config.registration.pending_max)?,
        clock: Arc::clone(&parts.clock),
    });
    Ok(Arc::new(registry.await?))
}

fn commands(
    parts: &ServicesParts<'_>,
    hot: &Hot,
    registry: &Arc<Registry>,
    watching: &Watching,
    audit: &Arc<AuditLog>,
) -> (Arc<Dispatcher>, DispatchLoop) {
    let shared = hot.shared.as_ref().filter(|_| parts.config.is_shared());
    dispatcher(DispatcherParts {
        store: Arc::clone(&parts.engines.stores.commands),
        sink: Arc::clone(&parts.doors.commands),
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
        nodes: shared.map(|shared| CommandNodes {
            node: parts.node.id.clone(),
            index: Arc::new(shared.redis.index()),
            exchange: Arc::clone(&shared.exchange) as _,
        }),
    })
}

fn nodes(
    parts: &ServicesParts<'_>,
    hot: &Hot,
    watching: &Watching,
    registry: &Arc<Registry>,
    dispatcher: &Arc<Dispatcher>,
) -> Option<Arc<Nodes>> {
    let leases = &parts.engines.stores.shared.as_ref()?.leases;
    Some(Arc::new(Nodes::new(NodesParts {
        node: parts.node.id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        leases: Arc::clone(leases),
        lead: Arc::clone(watching.lead.as_ref()?),
        exchange: Arc::clone(&hot.shared.as_ref()?.exchange) as _,
        presence: Arc::clone(&watching.presence),
        dispatcher: Arc::clone(dispatcher),
        registry: Arc::clone(registry),
        live: Arc::clone(&watching.live),
        clock: Arc::clone(&parts.clock),
    })))
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
