//! Events shown in hot state as well, for people who look there.

use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::event::Event;
use dormouse_core::ports::{EventMirror, EventQuery, EventStore, PortError};

use crate::hot::redis::Redis;

/// Shows events in Redis.
pub(super) struct RedisMirror(pub(super) Redis);

impl EventMirror for RedisMirror {
    fn note(&self, event: &Event) {
        self.0.note_event(event);
    }
}

/// Where the node that leads keeps changes of presence: it alone shows them.
pub(super) struct LeadersEvents {
    pub(super) store: Arc<dyn EventStore>,
    pub(super) mirror: RedisMirror,
}

#[async_trait]
impl EventStore for LeadersEvents {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.store.append(events).await?;
        for event in events {
            self.mirror.note(event);
        }
        Ok(())
    }

    async fn list(&self, query: &EventQuery) -> Result<Vec<Event>, PortError> {
        self.store.list(query).await
    }

    async fn last_presence(&self) -> Result<Vec<Event>, PortError> {
        self.store.last_presence().await
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        self.store.prune(before, limit).await
    }
}
