//! The devices: who they are, how they sign in, where they stand.
//!
//! Every device is in memory; the store is written first, then the index. A
//! change made by another process (the command line) is taken over by
//! [`Registry::refresh`].

mod auth;
mod discover;
mod edit;
mod enrol;
mod error;
mod import;
mod index;
mod list;
mod reports;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::clock::Clock;
use crate::device::{Device, DeviceState};
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey};
use crate::ports::{
    DeviceAccess, DeviceChange, DeviceStore, DeviceWatcher, EnrolSink, PortError, SessionControl,
    SettingStore, StoredDevice,
};
use crate::secret::DeviceDigest;
use crate::services::audit::AuditLog;

pub use auth::SessionIdentity;
pub use enrol::{HandOver, JoinMode, JoinSettings, Knock};
pub use error::{AuthRefused, RegistryError};
pub use import::{ImportMode, ImportRow, RowError, RowOutcome};
pub use list::{DeviceFilter, Listing};

use index::{Entry, Index};

/// What a [`Registry`] works with.
pub struct RegistryParts {
    /// Keeps the devices.
    pub store: Arc<dyn DeviceStore>,
    /// Keeps the join key and mode.
    pub settings: Arc<dyn SettingStore>,
    /// Keeps who changed what.
    pub audit: Arc<AuditLog>,
    /// Ends sessions.
    pub sessions: Arc<dyn SessionControl>,
    /// Hands over credentials.
    pub enrol: Arc<dyn EnrolSink>,
    /// Hear of changes.
    pub watchers: Vec<Arc<dyn DeviceWatcher>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the join key is worth until somebody sets it.
    pub join_mode: JoinMode,
    /// Devices that wait in the inbox at most; more are not let in.
    pub pending_max: usize,
}

/// The devices.
pub struct Registry {
    parts: RegistryParts,
    index: RwLock<Index>,
    join: RwLock<JoinSettings>,
    knocks: Mutex<HashMap<DeviceKey, Knock>>,
    dirty: Mutex<Dirty>,
    /// One change at a time; readers do not wait for it.
    writing: tokio::sync::Mutex<()>,
}

/// What the store does not know yet.
#[derive(Debug, Default)]
struct Dirty {
    reports: HashSet<DeviceKey>,
    joined: HashMap<DeviceKey, DeviceDigest>,
}

impl fmt::Debug for RegistryParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryParts").finish_non_exhaustive()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Reads every device and the join settings; makes a join key where there
    /// is none yet.
    ///
    /// # Errors
    /// When a store cannot answer.
    pub async fn load(parts: RegistryParts) -> Result<Self, PortError> {
        let join = enrol::load_join_settings(&*parts.settings, parts.join_mode).await?;
        let mut index = Index::default();
        for stored in parts.store.changed_since(0).await? {
            index.sync(stored.revision);
            index.put(stored);
        }
        Ok(Self {
            parts,
            index: RwLock::new(index),
            join: RwLock::new(join),
            knocks: Mutex::default(),
            dirty: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        })
    }

    /// The device with this id, unless deleted; in the inbox too.
    #[must_use]
    pub fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.read().by_id(id).map(|entry| entry.device.clone())
    }

    /// The device whose id is `name`, which may be any text.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Arc<Device>> {
        self.read().by_name(name).map(|entry| entry.device.clone())
    }

    /// The device with this key, unless deleted; in the inbox too.
    #[must_use]
    pub fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        self.read().by_key(key).map(|entry| entry.device.clone())
    }

    /// Whether the device can sign in with credentials of its own.
    #[must_use]
    pub fn has_credentials(&self, key: DeviceKey) -> bool {
        self.read()
            .by_key(key)
            .is_some_and(|entry| match entry.access {
                DeviceAccess::Credentials(_) | DeviceAccess::Joining(Some(_)) => true,
                DeviceAccess::Joining(None) | DeviceAccess::None => false,
            })
    }

    /// Takes over what other processes changed in the store. Call it about
    /// once a second.
    ///
    /// # Errors
    /// When a store cannot answer.
    pub async fn refresh(&self) -> Result<(), PortError> {
        let approved = self.take_over_changes().await?;
        for id in approved {
            // Anything else is tried again when the device listens next.
            if let Err(RegistryError::Port(error)) = self.hand_over(&id).await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns the devices that another process approved.
    async fn take_over_changes(&self) -> Result<Vec<DeviceId>, PortError> {
        let _writing = self.writing.lock().await;
        let since = self.read().synced();
        let mut approved = Vec::new();
        for stored in self.parts.store.changed_since(since).await? {
            self.write().sync(stored.revision);
            let id = stored.device.id.clone();
            if self.take_over(stored, None, &Origin::Server) == Some(DeviceChange::Approved) {
                approved.push(id);
            }
        }
        let parts = &self.parts;
        let join = enrol::load_join_settings(&*parts.settings, parts.join_mode).await?;
        *write_lock(&self.join) = join;
        Ok(approved)
    }

    /// Puts what is stored into the index, ends sessions that lost their
    /// right and tells the watchers. Returns what changed, if anything did.
    fn take_over(
        &self,
        stored: StoredDevice,
        change: Option<DeviceChange>,
        by: &Origin,
    ) -> Option<DeviceChange> {
        let (device, access) = (stored.device.clone(), stored.access.clone());
        let is_new = self.read().by_key(device.key).is_none();
        let before = self.write().put(stored);
        if is_new && device.state == DeviceState::Deleted {
            return None;
        }
        if !is_new && before.is_none() {
            // The index was newer: our own write, read back.
            return None;
        }
        let change = change.or_else(|| edit::difference(before.as_ref(), &device, &access))?;
        if let Some(reason) = edit::kick_for(change, &access) {
            self.parts.sessions.kick(&device.id, reason);
        }
        match change {
            DeviceChange::Deleted | DeviceChange::Approved | DeviceChange::Rejected => {
                lock(&self.knocks).remove(&device.key);
            }
            DeviceChange::Added
            | DeviceChange::Edited
            | DeviceChange::CredentialsChanged
            | DeviceChange::HandedOver => {}
        }
        for watcher in &self.parts.watchers {
            watcher.changed(&device, change, by);
        }
        Some(change)
    }

    fn entry(&self, id: &DeviceId) -> Result<Entry, RegistryError> {
        self.read()
            .by_id(id)
            .cloned()
            .ok_or_else(|| RegistryError::Unknown(id.clone()))
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        write_lock(&self.index)
    }
}

/// No code here can panic between two writes, so a poisoned lock holds good data.
fn write_lock<T>(it: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    it.write().unwrap_or_else(PoisonError::into_inner)
}

/// See [`write_lock`].
fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
