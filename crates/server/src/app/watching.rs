//! Presence, events, and those who watch them.

use std::sync::{Arc, OnceLock};

use dormouse_core::directory::Directory;
use dormouse_core::live::LiveHub;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::fleet::{Fleet, FleetParts};
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::nodes::{LeaseKeeper, PRESENCE};
use dormouse_core::services::presence::{PresenceNodes, PresenceParts, PresenceTracker};
use dormouse_core::services::registry::Registry;
use dormouse_core::services::statistics::Statistics;

use super::hot::Hot;
use super::mirror::{LeadersEvents, RedisMirror};
use super::services::ServicesParts;
use crate::bridge::LiveView;

/// Presence, events and those who watch them.
pub(super) struct Watching {
    pub(super) live: Arc<LiveHub>,
    pub(super) events: Arc<EventLog>,
    pub(super) incidents: Arc<Incidents>,
    pub(super) presence: Arc<PresenceTracker>,
    pub(super) view: Arc<LiveView>,
    pub(super) fleet: Arc<Fleet>,
    /// Keeps the lease of the node that leads, among several.
    pub(super) lead: Option<Arc<LeaseKeeper>>,
}

impl Watching {
    pub(super) async fn build(
        parts: &ServicesParts<'_>,
        hot: &Hot,
        registry: &Arc<Registry>,
        statistics: &Arc<Statistics>,
    ) -> anyhow::Result<Self> {
        let (engines, clock) = (parts.engines, &parts.clock);
        let directory: Arc<dyn Directory> = Arc::clone(registry) as _;
        let stores = &engines.stores;
        let nodes = presence_nodes(parts, hot);
        let lead = nodes.as_ref().map(|it| Arc::clone(&it.lease));
        let live = Arc::new(LiveHub::new(Arc::clone(&directory)));
        let mirror = hot.shared.as_ref();
        let mirror = mirror.map(|it| Arc::new(RedisMirror(it.redis.clone())) as _);
        let log = EventLog::new(
            Arc::clone(&stores.events),
            Arc::clone(&live),
            Arc::clone(clock),
        );
        let events = Arc::new(log.mirrored(mirror));
        let incidents = Arc::new(Incidents::new(
            Arc::clone(&stores.incidents),
            Arc::clone(&directory),
            Arc::clone(&events),
            Arc::clone(clock),
        ));
        incidents.restore().await?;
        let presence = Arc::new(PresenceTracker::new(PresenceParts {
            offline_after: parts.config.presence.offline_after,
            directory: Arc::clone(&directory),
            events: Arc::clone(&events),
            incidents: Arc::clone(&incidents),
            clock: Arc::clone(clock),
            nodes,
        }));
        if lead.is_some() {
            presence.catch_up().await?;
        } else {
            presence.restore(&events.last_presence().await?);
        }
        let view = Arc::new(LiveView {
            presence: Arc::clone(&presence),
            hot: Arc::clone(&hot.state),
            statistics: Arc::clone(statistics),
            gate: OnceLock::new(),
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
            live,
            events,
            incidents,
            presence,
            view,
            fleet,
            lead,
        })
    }
}

/// What presence shares with other nodes; `None` where there are none.
fn presence_nodes(parts: &ServicesParts<'_>, hot: &Hot) -> Option<PresenceNodes> {
    let stores = &parts.engines.stores;
    let shared = stores.shared.as_ref().zip(hot.shared.as_ref());
    let (database, hot) = shared.filter(|_| parts.config.is_shared())?;
    let lease = LeaseKeeper::new(
        Arc::clone(&database.leases),
        PRESENCE,
        parts.node.id.clone(),
        Arc::clone(&parts.clock),
    );
    Some(PresenceNodes {
        node: parts.node.id.clone(),
        exchange: Arc::clone(&hot.exchange) as _,
        last_seen: Arc::new(hot.redis.last_seen()),
        lease: Arc::new(lease),
        store: Arc::new(LeadersEvents {
            store: Arc::clone(&stores.events),
            mirror: RedisMirror(hot.redis.clone()),
        }),
    })
}
