//! The pending commands in memory: an index of what the store holds.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::clock::Instant;
use crate::command::{Command, Deadlines};
use crate::ids::{CommandId, DeviceKey};

/// Pending commands by id, by device and by deadline.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: HashMap<CommandId, Entry>,
    by_device: HashMap<DeviceKey, SmallVec<[CommandId; 2]>>,
    deadlines: Deadlines,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) command: Arc<Command>,
    /// When it was handed to the broker; after a restart, when it was found.
    pub(super) published: Instant,
    deadline: Instant,
    waiters: SmallVec<[oneshot::Sender<Option<Arc<Command>>>; 1]>,
}

impl Pending {
    pub(super) fn add(&mut self, command: Arc<Command>, published: Instant, deadline: Instant) {
        let (id, device) = (command.id, command.device);
        let entry = Entry {
            command,
            published,
            deadline,
            waiters: SmallVec::new(),
        };
        if self.entries.insert(id, entry).is_none() {
            self.by_device.entry(device).or_default().push(id);
        }
        self.deadlines.arm(id, deadline);
    }

    /// Forgets a command; returns who waited for it.
    pub(super) fn remove(
        &mut self,
        id: CommandId,
    ) -> SmallVec<[oneshot::Sender<Option<Arc<Command>>>; 1]> {
        let Some(entry) = self.entries.remove(&id) else {
            return SmallVec::new();
        };
        self.deadlines.disarm(id, entry.deadline);
        if let Some(ids) = self.by_device.get_mut(&entry.command.device) {
            ids.retain(|it| *it != id);
            if ids.is_empty() {
                self.by_device.remove(&entry.command.device);
            }
        }
        entry.waiters
    }

    pub(super) fn get(&self, id: CommandId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = CommandId> {
        self.entries.keys().copied()
    }

    pub(super) fn of_device(&self, device: DeviceKey) -> impl Iterator<Item = &Entry> {
        self.by_device
            .get(&device)
            .into_iter()
            .flatten()
            .filter_map(|id| self.entries.get(id))
    }

    /// Lets `waiter` hear of the verdict; gives it back if there is nothing to
    /// wait for.
    pub(super) fn wait(
        &mut self,
        id: CommandId,
        waiter: oneshot::Sender<Option<Arc<Command>>>,
    ) -> Option<oneshot::Sender<Option<Arc<Command>>>> {
        match self.entries.get_mut(&id) {
            Some(entry) => {
                entry.waiters.retain(|it| !it.is_closed());
                entry.waiters.push(waiter);
                None
            }
            None => Some(waiter),
        }
    }

    /// Ends the wait of everybody.
    pub(super) fn let_go(&mut self) {
        for entry in self.entries.values_mut() {
            entry.waiters.clear();
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn due(&self, now: Instant, limit: usize) -> Vec<CommandId> {
        self.deadlines.due(now, limit).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> std::collections::BTreeSet<CommandId> {
        let by_device = self.by_device.values().map(SmallVec::len).sum::<usize>();
        assert_eq!(by_device, self.entries.len());
        assert_eq!(self.deadlines.len(), self.entries.len());
        self.entries.keys().copied().collect()
    }
}
