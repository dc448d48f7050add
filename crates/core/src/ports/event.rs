//! Where events and incidents are kept.

use async_trait::async_trait;

use super::PortError;
use crate::clock::Timestamp;
use crate::event::{Event, EventType, Severity};
use crate::ids::{DeviceId, EventId, IncidentId};
use crate::incident::Incident;

/// Keeps events.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Keeps `events`, all or none. One that is kept already changes nothing.
    async fn append(&self, events: &[Event]) -> Result<(), PortError>;

    /// The events that `query` asks for, newest first, at most `query.limit`.
    async fn list(&self, query: &EventQuery) -> Result<Vec<Event>, PortError>;

    /// The last change of presence of each device, as received.
    async fn last_presence(&self) -> Result<Vec<Event>, PortError>;

    /// Deletes at most `limit` events received before `before`, except each
    /// device's last change of presence; returns how many.
    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError>;
}

/// Shows recent events to people who look with an engine's own tools.
pub trait EventMirror: Send + Sync + 'static {
    /// Shows `event` among its device's recent ones. Never blocks; bounded,
    /// the oldest is dropped first.
    fn note(&self, event: &Event);
}

/// Which events to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only of this type.
    pub kind: Option<EventType>,
    /// Only of this severity.
    pub severity: Option<Severity>,
    /// Only at or after this moment.
    pub from: Option<Timestamp>,
    /// Only before this moment.
    pub to: Option<Timestamp>,
    /// Only those that come after this one in the list.
    pub after: Option<(Timestamp, EventId)>,
    /// At most this many.
    pub limit: usize,
}

/// Keeps incidents.
#[async_trait]
pub trait IncidentStore: Send + Sync + 'static {
    /// Keeps `incident`; a later version takes the place of an earlier one.
    async fn put(&self, incident: &Incident) -> Result<(), PortError>;

    /// The incidents that `query` asks for, newest first, at most `query.limit`.
    async fn list(&self, query: &IncidentQuery) -> Result<Vec<Incident>, PortError>;

    /// Deletes at most `limit` ended incidents begun before `before`; returns how many.
    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError>;
}

/// Which incidents to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncidentQuery {
    /// Only those that have not ended.
    pub open_only: bool,
    /// Only those that come after this one in the list.
    pub after: Option<(Timestamp, IncidentId)>,
    /// At most this many.
    pub limit: usize,
}
