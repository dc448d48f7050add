//! Every device in memory, by key and by id.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::device::{Device, DeviceState};
use crate::ids::{DeviceId, DeviceKey, DeviceKeyMap};
use crate::ports::{DeviceAccess, StoredDevice};

/// One device in the index.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) device: Arc<Device>,
    pub(super) access: DeviceAccess,
    revision: i64,
}

/// All devices that are not deleted.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_key: DeviceKeyMap<Entry>,
    by_id: HashMap<DeviceId, DeviceKey>,
    in_order: BTreeSet<DeviceId>,
    /// Ids of devices that were deleted and not added again.
    buried: HashSet<DeviceId>,
    pending: usize,
    synced: i64,
}

impl Index {
    /// The revision up to which everything in the store was read. Our own
    /// writes do not move it: another process may have written just before.
    pub(super) const fn synced(&self) -> i64 {
        self.synced
    }

    /// Notes that the store was read up to `revision`.
    pub(super) fn sync(&mut self, revision: i64) {
        self.synced = self.synced.max(revision);
    }

    /// How many wait in the inbox.
    pub(super) const fn pending(&self) -> usize {
        self.pending
    }

    /// Whether a device with this id was deleted, and none added since.
    pub(super) fn is_buried(&self, id: &DeviceId) -> bool {
        self.buried.contains(id)
    }

    pub(super) fn by_key(&self, key: DeviceKey) -> Option<&Entry> {
        self.by_key.get(&key)
    }

    pub(super) fn by_key_mut(&mut self, key: DeviceKey) -> Option<&mut Entry> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn by_id(&self, id: &DeviceId) -> Option<&Entry> {
        self.by_key.get(self.by_id.get(id)?)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Entry> {
        self.by_key.get(self.by_id.get(name)?)
    }

    pub(super) fn by_id_mut(&mut self, id: &DeviceId) -> Option<&mut Entry> {
        self.by_key.get_mut(self.by_id.get(id)?)
    }

    /// The devices whose ids follow `after`, in order of their ids.
    pub(super) fn after(&self, after: Option<&DeviceId>) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.in_order
            .range::<DeviceId, _>((start, Unbounded))
            .filter_map(|id| self.by_id(id))
    }

    /// Takes over what the store holds, unless the index is newer, and
    /// returns the entry that was there.
    pub(super) fn put(&mut self, stored: StoredDevice) -> Option<Entry> {
        let StoredDevice {
            mut device,
            access,
            revision,
        } = stored;
        let known = self.by_key.get(&device.key);
        if known.is_some_and(|known| known.revision >= revision) {
            return None;
        }
        // Reports are mostly newer here than in the store.
        let known = known.and_then(|known| known.device.reported.clone());
        let stored = device.reported.take();
        device.reported = match (known, stored) {
            (Some(known), Some(stored)) if stored.is_newer_than_report(&known) => Some(stored),
            (Some(known), _) => Some(known),
            (None, stored) => stored,
        };
        let before = self.remove(device.key);
        if device.state == DeviceState::Deleted {
            if !self.by_id.contains_key(&device.id) {
                self.buried.insert(device.id);
            }
        } else {
            self.buried.remove(&device.id);
            self.pending += usize::from(device.state == DeviceState::Pending);
            self.by_id.insert(device.id.clone(), device.key);
            self.in_order.insert(device.id.clone());
            let entry = Entry {
                device: Arc::new(device),
                access,
                revision,
            };
            self.by_key.insert(entry.device.key, entry);
        }
        before
    }

    fn remove(&mut self, key: DeviceKey) -> Option<Entry> {
        let entry = self.by_key.remove(&key)?;
        if self.by_id.get(&entry.device.id) == Some(&key) {
            self.by_id.remove(&entry.device.id);
            self.in_order.remove(&entry.device.id);
        }
        self.pending -= usize::from(entry.device.state == DeviceState::Pending);
        Some(entry)
    }
}
