//! The index of commands of the nodes in one process.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use super::lock;
use crate::clock::{Clock, Timestamp};
use crate::command::{Command, Rates};
use crate::ids::{CommandId, DeviceKey};
use crate::ports::PortError;
use crate::ports::nodes::CommandIndex;

/// Rates and deadlines in memory; bounded by the number of devices and of
/// pending commands.
pub struct MemoryIndex {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    down: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    rates: Rates,
    by_time: BTreeSet<(Timestamp, CommandId)>,
    by_id: HashMap<CommandId, Timestamp>,
}

impl std::fmt::Debug for MemoryIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryIndex").finish_non_exhaustive()
    }
}

impl MemoryIndex {
    /// An empty index; rates go by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            down: AtomicBool::new(false),
        }
    }

    /// Makes it answer, or not, as an engine behind a network may.
    pub fn set_reachable(&self, reachable: bool) {
        self.down.store(!reachable, Ordering::Relaxed);
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, PortError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(PortError::unavailable("the index is out of reach"));
        }
        Ok(lock(&self.state))
    }
}

impl State {
    fn disarm(&mut self, id: CommandId) {
        if let Some(at) = self.by_id.remove(&id) {
            self.by_time.remove(&(at, id));
        }
    }
}

#[async_trait]
impl CommandIndex for MemoryIndex {
    async fn admit(&self, devices: &[DeviceKey]) -> Result<Vec<Result<(), Duration>>, PortError> {
        let now = self.clock.instant();
        let mut state = self.state()?;
        let take = |device: &DeviceKey| state.rates.take(*device, now);
        Ok(devices.iter().map(take).collect())
    }

    async fn arm(&self, deadlines: &[(CommandId, Timestamp)]) -> Result<(), PortError> {
        let mut state = self.state()?;
        for (id, at) in deadlines {
            state.disarm(*id);
            state.by_id.insert(*id, *at);
            state.by_time.insert((*at, *id));
        }
        Ok(())
    }

    async fn claim(&self, before: Timestamp, limit: usize) -> Result<Vec<CommandId>, PortError> {
        let mut state = self.state()?;
        let passed = state.by_time.iter().take_while(|(at, _)| *at < before);
        let claimed: Vec<_> = passed.take(limit).map(|(_, id)| *id).collect();
        for id in &claimed {
            state.disarm(*id);
        }
        Ok(claimed)
    }

    fn show(&self, command: &Command) {
        if let Ok(mut state) = self.state()
            && !command.is_pending()
        {
            state.disarm(command.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        let clock = Arc::new(ManualClock::default());
        let shared = MemoryIndex::new(clock.clone());
        let pass = |time: Duration| {
            clock.advance(time);
            std::future::ready(())
        };
        crate::contract::command_index(&shared, &shared, pass).await;
    }

    #[tokio::test]
    async fn out_of_reach_nothing_may_be_sent() {
        let index = MemoryIndex::new(Arc::new(ManualClock::default()));
        index.set_reachable(false);
        assert!(index.admit(&[DeviceKey(1)]).await.is_err());
        assert!(index.arm(&[]).await.is_err());
        index.set_reachable(true);
        assert!(index.admit(&[DeviceKey(1)]).await.is_ok());
    }
}
