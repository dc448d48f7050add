//! Leases of the nodes in one process.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::lock;
use crate::clock::{Clock, Instant, Timestamp};
use crate::ports::PortError;
use crate::ports::nodes::{Fence, Lease, LeaseStore, NodeId};

/// Leases in a map; judged by one clock for all nodes.
pub struct MemoryLeases {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    down: AtomicBool,
}

#[derive(Default)]
struct State {
    leases: BTreeMap<String, Row>,
    last_fence: i64,
}

struct Row {
    holder: Option<NodeId>,
    fence: Fence,
    until: Instant,
    note: Option<String>,
}

impl fmt::Debug for MemoryLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLeases").finish_non_exhaustive()
    }
}

impl MemoryLeases {
    /// No lease yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            down: AtomicBool::new(false),
        }
    }

    /// Makes it answer, or not, as a database behind a network may.
    pub fn set_reachable(&self, reachable: bool) {
        self.down.store(!reachable, Ordering::Relaxed);
    }

    fn with<T>(&self, work: impl FnOnce(&mut State, Instant) -> T) -> Result<T, PortError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(PortError::unavailable("the leases are out of reach"));
        }
        let now = self.clock.instant();
        Ok(work(&mut lock(&self.state), now))
    }
}

impl State {
    fn of(&mut self, name: &str, fence: Fence) -> Option<&mut Row> {
        self.leases.get_mut(name).filter(|row| row.fence == fence)
    }
}

#[async_trait]
impl LeaseStore for MemoryLeases {
    async fn acquire(
        &self,
        name: &str,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Fence>, PortError> {
        self.with(|state, now| {
            let known = state.leases.get_mut(name);
            if let Some(row) = known {
                let is_ours = row.holder.as_ref() == Some(node);
                if !is_ours && row.holder.is_some() && row.until > now {
                    return None;
                }
                row.until = now + ttl;
                if !is_ours {
                    state.last_fence += 1;
                    row.fence = Fence(state.last_fence);
                    row.holder = Some(node.clone());
                }
                return Some(row.fence);
            }
            state.last_fence += 1;
            let fence = Fence(state.last_fence);
            let row = Row {
                holder: Some(node.clone()),
                fence,
                until: now + ttl,
                note: None,
            };
            state.leases.insert(name.to_owned(), row);
            Some(fence)
        })
    }

    async fn note(&self, name: &str, fence: Fence, note: &str) -> Result<bool, PortError> {
        self.with(|state, _| {
            let row = state.of(name, fence);
            row.map(|row| row.note = Some(note.to_owned())).is_some()
        })
    }

    async fn release(&self, name: &str, fence: Fence) -> Result<(), PortError> {
        self.with(|state, _| {
            if let Some(row) = state.of(name, fence) {
                row.holder = None;
            }
        })
    }

    async fn remove(&self, name: &str, fence: Fence) -> Result<bool, PortError> {
        self.with(|state, _| {
            let is_ours = state.of(name, fence).is_some();
            if is_ours {
                state.leases.remove(name);
            }
            is_ours
        })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Lease>, PortError> {
        self.with(|state, now| {
            let from = state.leases.range(prefix.to_owned()..);
            from.take_while(|(name, _)| name.starts_with(prefix))
                .map(|(name, row)| Lease {
                    name: name.clone(),
                    holder: row.holder.clone(),
                    fence: row.fence,
                    left: (row.holder.is_some() && row.until > now).then(|| row.until.since(now)),
                    over: (row.holder.is_some() && row.until <= now).then(|| now.since(row.until)),
                    note: row.note.clone(),
                })
                .collect()
        })
    }

    async fn now(&self) -> Result<Timestamp, PortError> {
        self.with(|_, _| self.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn keeps_the_contract() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let leases = MemoryLeases::new(clock.clone());
        let pass = async |time| clock.advance(time);
        crate::contract::lease_store(&leases, pass).await;
    }
}
