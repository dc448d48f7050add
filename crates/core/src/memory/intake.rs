//! The way straight into the in-memory stores.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::{MemoryDevices, MemoryEvents, MemoryHistory, lock};
use crate::ids::DeviceKey;
use crate::ports::history::HistoryStore;
use crate::ports::intake::{
    InboxVersion, IntakeBatch, IntakeStore, IntakeTransaction, RefusedMessage, StoredInbox,
};
use crate::ports::journal::JournalPosition;
use crate::ports::{EventStore, PortError};

/// What is wrong with a [`MemoryIntake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// It refuses to begin.
    Down,
    /// It begins, and keeps nothing.
    Fails,
    /// It keeps everything, and says that it failed.
    Forgets,
    /// It does not answer until that changes.
    Hangs,
}

/// Transactions over in-memory stores; several nodes may share one.
#[derive(Debug)]
pub struct MemoryIntake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    history: Arc<MemoryHistory>,
    events: Arc<MemoryEvents>,
    devices: Arc<MemoryDevices>,
    inboxes: Mutex<BTreeMap<DeviceKey, Versioned>>,
    positions: Mutex<BTreeMap<u64, JournalPosition>>,
    held: Mutex<HashSet<DeviceKey>>,
    released: Notify,
    trouble: watch::Sender<Trouble>,
    taste: Mutex<Taste>,
    aside: Mutex<Vec<Aside>>,
}

/// Why a batch is refused for what is in it, if it is.
type Judgement = dyn Fn(&IntakeBatch) -> Option<String> + Send + Sync;

/// What is refused.
#[derive(Default)]
struct Taste(Option<Arc<Judgement>>);

impl std::fmt::Debug for Taste {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Taste").field(&self.0.is_some()).finish()
    }
}

/// A message put aside, and whether it is wanted again.
#[derive(Debug)]
struct Aside {
    message: RefusedMessage,
    again: bool,
}

/// An inbox and how often it was written.
type Versioned = (InboxVersion, Box<[u8]>);

impl MemoryIntake {
    /// Transactions over these stores.
    #[must_use]
    pub fn new(
        history: Arc<MemoryHistory>,
        events: Arc<MemoryEvents>,
        devices: Arc<MemoryDevices>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                history,
                events,
                devices,
                inboxes: Mutex::default(),
                positions: Mutex::default(),
                held: Mutex::default(),
                released: Notify::new(),
                trouble: watch::Sender::new(Trouble::None),
                taste: Mutex::default(),
                aside: Mutex::default(),
            }),
        }
    }

    /// Makes it refuse batches of which `judgement` gives a reason.
    pub fn refuse(
        &self,
        judgement: impl Fn(&IntakeBatch) -> Option<String> + Send + Sync + 'static,
    ) {
        lock(&self.shared.taste).0 = Some(Arc::new(judgement));
    }

    /// Makes it take everything again.
    pub fn refuse_nothing(&self) {
        lock(&self.shared.taste).0 = None;
    }

    /// The messages put aside, oldest first.
    #[must_use]
    pub fn aside(&self) -> Vec<RefusedMessage> {
        let aside = lock(&self.shared.aside);
        aside.iter().map(|it| it.message.clone()).collect()
    }

    /// Wants every message put aside tried again.
    pub fn want_again(&self) {
        for aside in lock(&self.shared.aside).iter_mut() {
            aside.again = true;
        }
    }

    /// Makes it fail, hang, or work again.
    pub fn set_trouble(&self, trouble: Trouble) {
        self.shared.trouble.send_replace(trouble);
    }
}

impl Shared {
    /// Waits while it hangs; what is wrong then.
    async fn trouble(&self) -> Trouble {
        let mut trouble = self.trouble.subscribe();
        let answers = trouble.wait_for(|it| *it != Trouble::Hangs).await;
        answers.map_or(Trouble::Down, |it| *it)
    }

    /// Whether `batch` is taken, by a transaction that holds `held`.
    fn check(&self, held: &HashSet<DeviceKey>, batch: &IntakeBatch) -> Result<(), PortError> {
        let of_samples = batch.samples.iter().map(|it| it.device);
        let mut devices = of_samples.chain(batch.inboxes.iter().map(|it| it.0));
        if let Some(device) = devices.find(|it| !held.contains(it)) {
            return Err(PortError::Corrupt(format!("{device:?} is not held")));
        }
        let judgement = lock(&self.taste).0.clone();
        match judgement.and_then(|it| it(batch)) {
            Some(why) => Err(PortError::Refused(why)),
            None => Ok(()),
        }
    }

    /// Puts messages aside and takes others up.
    fn set_aside(&self, batch: &IntakeBatch) -> Result<(), PortError> {
        let mut aside = lock(&self.aside);
        let is_there = |entry: &[u8]| aside.iter().any(|it| *it.message.entry == *entry);
        if !batch.reclaimed.iter().all(|entry| is_there(entry)) {
            return Err(PortError::unavailable("no longer aside"));
        }
        aside.retain(|it| !batch.reclaimed.contains(&it.message.entry));
        for message in &batch.refused {
            let known = aside
                .iter_mut()
                .find(|it| it.message.entry == message.entry);
            let new = Aside {
                message: message.clone(),
                again: false,
            };
            match known {
                Some(known) => *known = new,
                None => aside.push(new),
            }
        }
        Ok(())
    }

    /// Holds all of `devices` or none.
    fn hold(&self, devices: &[(DeviceKey, InboxVersion)]) -> bool {
        let mut held = lock(&self.held);
        let free = devices.iter().all(|(device, _)| !held.contains(device));
        if free {
            held.extend(devices.iter().map(|(device, _)| *device));
        }
        free
    }
}

#[async_trait]
impl IntakeStore for MemoryIntake {
    async fn begin(
        &self,
        devices: &[(DeviceKey, InboxVersion)],
    ) -> Result<Box<dyn IntakeTransaction>, PortError> {
        let shared = Arc::clone(&self.shared);
        if shared.trouble().await == Trouble::Down {
            return Err(PortError::unavailable("told to be down"));
        }
        loop {
            let released = shared.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if shared.hold(devices) {
                break;
            }
            released.await;
        }
        let inboxes = lock(&shared.inboxes);
        let changed = devices.iter().filter_map(|(device, known)| {
            let (version, bytes) = inboxes.get(device)?;
            (version != known).then(|| StoredInbox {
                device: *device,
                version: *version,
                bytes: bytes.clone(),
            })
        });
        let changed = changed.collect();
        drop(inboxes);
        Ok(Box::new(MemoryTransaction {
            held: devices.iter().map(|(device, _)| *device).collect(),
            changed,
            shared,
        }))
    }

    async fn position(&self, journal: u64) -> Result<Option<JournalPosition>, PortError> {
        match self.shared.trouble().await {
            Trouble::Down => Err(PortError::unavailable("told to be down")),
            Trouble::None | Trouble::Fails | Trouble::Forgets | Trouble::Hangs => {
                Ok(lock(&self.shared.positions).get(&journal).copied())
            }
        }
    }

    async fn refused(&self) -> Result<u64, PortError> {
        Ok(lock(&self.shared.aside).len() as u64)
    }

    async fn wanted_again(&self, limit: usize) -> Result<Vec<Box<[u8]>>, PortError> {
        let aside = lock(&self.shared.aside);
        let wanted = aside.iter().filter(|it| it.again).take(limit);
        Ok(wanted.map(|it| it.message.entry.clone()).collect())
    }
}

#[derive(Debug)]
struct MemoryTransaction {
    shared: Arc<Shared>,
    held: HashSet<DeviceKey>,
    changed: Vec<StoredInbox>,
}

#[async_trait]
impl IntakeTransaction for MemoryTransaction {
    fn changed(&mut self) -> Vec<StoredInbox> {
        std::mem::take(&mut self.changed)
    }

    async fn commit(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError> {
        let shared = &self.shared;
        let trouble = shared.trouble().await;
        if trouble == Trouble::Down || trouble == Trouble::Fails {
            return Err(PortError::unavailable("told to keep nothing"));
        }
        shared.check(&self.held, &batch)?;
        shared.set_aside(&batch)?;
        // None of these waits for anything, so nothing comes between them.
        shared.history.append(batch.samples, None).await?;
        shared.events.append(&batch.events).await?;
        shared.devices.save_newer_reports(batch.reports);
        let mut inboxes = lock(&shared.inboxes);
        for (device, bytes) in batch.inboxes {
            let inbox = inboxes.entry(device).or_default();
            *inbox = (inbox.0 + 1, bytes);
        }
        drop(inboxes);
        if let Some(position) = batch.position {
            lock(&shared.positions).insert(position.journal, position);
        }
        match trouble {
            Trouble::Forgets => Err(PortError::unavailable("told to forget")),
            Trouble::None | Trouble::Down | Trouble::Fails | Trouble::Hangs => Ok(()),
        }
    }

    async fn rehearse(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError> {
        match self.shared.trouble().await {
            Trouble::Down | Trouble::Fails => Err(PortError::unavailable("told to keep nothing")),
            Trouble::None | Trouble::Forgets | Trouble::Hangs => {
                self.shared.check(&self.held, &batch)
            }
        }
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        let mut held = lock(&self.shared.held);
        for device in &self.held {
            held.remove(device);
        }
        drop(held);
        self.shared.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{IntakeStores, intake_store, intake_store_of_nodes};
    use crate::site::SiteZone;

    async fn stores() -> IntakeStores {
        let history = Arc::new(MemoryHistory::new(SiteZone::UTC));
        let events = Arc::new(MemoryEvents::default());
        let devices = Arc::new(MemoryDevices::default());
        let parts = (history.clone(), events.clone(), devices.clone());
        IntakeStores {
            intake: Arc::new(MemoryIntake::new(parts.0, parts.1, parts.2)),
            history,
            events,
            devices,
        }
    }

    #[tokio::test]
    async fn keeps_the_intake_contract() {
        intake_store(stores).await;
        intake_store_of_nodes(stores).await;
    }
}
