//! Events and incidents in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::event::{Event, EventType};
use crate::ids::{DeviceKey, EventId, IncidentId};
use crate::incident::Incident;
use crate::memory::lock;
use crate::ports::{EventQuery, EventStore, IncidentQuery, IncidentStore, PortError};

/// Events in memory.
#[derive(Debug, Default)]
pub struct MemoryEvents {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: BTreeMap<(Timestamp, EventId), Event>,
    ids: HashSet<EventId>,
    presence: HashMap<DeviceKey, Event>,
}

impl MemoryEvents {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

#[async_trait]
impl EventStore for MemoryEvents {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        let mut kept = self.kept();
        for event in events {
            if !kept.ids.insert(event.id) {
                continue;
            }
            if let (true, Some((key, _))) = (is_presence(&event.kind), &event.device) {
                let last = kept.presence.get(key);
                if last.is_none_or(|last| last.received_at <= event.received_at) {
                    kept.presence.insert(*key, event.clone());
                }
            }
            kept.events.insert((event.ts, event.id), event.clone());
        }
        Ok(())
    }

    async fn list(&self, query: &EventQuery) -> Result<Vec<Event>, PortError> {
        let kept = self.kept();
        let found = kept.events.iter().rev().filter(|(place, event)| {
            let device = event.device.as_ref().map(|(_, id)| id);
            query.after.is_none_or(|after| **place < after)
                && query.device.as_ref().is_none_or(|id| device == Some(id))
                && query.kind.as_ref().is_none_or(|kind| event.kind == *kind)
                && query.severity.is_none_or(|it| event.severity == it)
                && query.from.is_none_or(|from| event.ts >= from)
                && query.to.is_none_or(|to| event.ts < to)
        });
        Ok(found
            .map(|(_, event)| event.clone())
            .take(query.limit)
            .collect())
    }

    async fn last_presence(&self) -> Result<Vec<Event>, PortError> {
        Ok(self.kept().presence.values().cloned().collect())
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        let mut kept = self.kept();
        let needed: HashSet<EventId> = kept.presence.values().map(|event| event.id).collect();
        let old: Vec<_> = kept
            .events
            .iter()
            .filter(|(_, event)| event.received_at < before && !needed.contains(&event.id))
            .map(|(place, _)| *place)
            .take(limit)
            .collect();
        for place in &old {
            kept.events.remove(place);
            kept.ids.remove(&place.1);
        }
        Ok(old.len())
    }
}

/// Whether events of `kind` are changes of presence.
fn is_presence(kind: &EventType) -> bool {
    *kind == EventType::DeviceOnline || *kind == EventType::DeviceOffline
}

/// Incidents in memory.
#[derive(Debug, Default)]
pub struct MemoryIncidents {
    kept: Mutex<BTreeMap<(Timestamp, IncidentId), Incident>>,
}

impl MemoryIncidents {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<(Timestamp, IncidentId), Incident>> {
        lock(&self.kept)
    }
}

#[async_trait]
impl IncidentStore for MemoryIncidents {
    async fn put(&self, incident: &Incident) -> Result<(), PortError> {
        let place = (incident.started_at, incident.id);
        self.kept().insert(place, incident.clone());
        Ok(())
    }

    async fn list(&self, query: &IncidentQuery) -> Result<Vec<Incident>, PortError> {
        let kept = self.kept();
        let found = kept.iter().rev().filter(|(place, incident)| {
            query.after.is_none_or(|after| **place < after)
                && (!query.open_only || incident.ended_at.is_none())
        });
        Ok(found
            .map(|(_, incident)| incident.clone())
            .take(query.limit)
            .collect())
    }

    async fn prune(&self, before: Timestamp, limit: usize) -> Result<usize, PortError> {
        let mut kept = self.kept();
        let old: Vec<_> = kept
            .iter()
            .filter(|(place, incident)| place.0 < before && incident.ended_at.is_some())
            .map(|(place, _)| *place)
            .take(limit)
            .collect();
        for place in &old {
            kept.remove(place);
        }
        Ok(old.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn events_in_memory_keep_the_contract() {
        contract::event_store(|| async { MemoryEvents::default() }).await;
    }

    #[tokio::test]
    async fn incidents_in_memory_keep_the_contract() {
        contract::incident_store(|| async { MemoryIncidents::default() }).await;
    }
}
