//! Presence, events, and those who watch them.

use std::sync::{Arc, OnceLock};

use dormouse_core::directory::Directory;
use dormouse_core::live::LiveHub;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::fleet::{Fleet, FleetParts};
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::presence::{PresenceParts, PresenceTracker};
use dormouse_core::services::registry::Registry;
use dormouse_core::services::statistics::Statistics;

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
}

impl Watching {
    pub(super) async fn build(
        parts: &ServicesParts<'_>,
        registry: &Arc<Registry>,
        statistics: &Arc<Statistics>,
    ) -> anyhow::Result<Self> {
        let (engines, clock) = (parts.engines, &parts.clock);
        let directory: Arc<dyn Directory> = Arc::clone(registry) as _;
        let stores = &engines.stores;
        let live = Arc::new(LiveHub::new(Arc::clone(&directory)));
        let events = Arc::new(EventLog::new(
            Arc::clone(&stores.events),
            Arc::clone(&live),
            Arc::clone(clock),
        ));
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
            nodes: None,
        }));
        presence.restore(&events.last_presence().await?);
        let view = Arc::new(LiveView {
            presence: Arc::clone(&presence),
            hot: Arc::clone(&engines.hot),
            statistics: Arc::clone(statistics),
            ingest: OnceLock::new(),
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
        })
    }
}
