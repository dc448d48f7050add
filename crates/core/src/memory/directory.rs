//! A list of devices in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

#[cfg(any(test, feature = "contract"))]
use crate::clock::Timestamp;
use crate::device::Device;
#[cfg(any(test, feature = "contract"))]
use crate::device::{DeviceSettings, DeviceState};
use crate::directory::Directory;
use crate::ids::{DeviceId, DeviceKey};

/// Devices in memory.
#[derive(Debug, Default)]
pub struct MemoryDirectory {
    devices: RwLock<BTreeMap<DeviceId, Arc<Device>>>,
}

impl MemoryDirectory {
    /// Adds or replaces `device`.
    pub fn put(&self, device: Device) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        devices.insert(device.id.clone(), Arc::new(device));
    }

    /// Removes the device with `id`.
    pub fn remove(&self, id: &DeviceId) {
        let mut devices = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        devices.remove(id);
    }

    /// Adds a device at `location` with the next key, and returns it.
    ///
    /// # Panics
    /// When `id` is no device id.
    #[cfg(any(test, feature = "contract"))]
    #[expect(clippy::expect_used, reason = "a tool for tests")]
    pub fn add(&self, id: &str, location: &str) -> DeviceKey {
        let next = self.read().values().map(|device| device.key.0).max();
        let key = DeviceKey(next.unwrap_or_default() + 1);
        self.put(Device {
            key,
            id: DeviceId::parse(id).expect("a device id"),
            state: DeviceState::Active,
            settings: DeviceSettings {
                location: location.to_owned(),
                ..DeviceSettings::default()
            },
            reported: None,
            version: 1,
            created_at: Timestamp::from_millis(0),
        });
        key
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<DeviceId, Arc<Device>>> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for MemoryDirectory {
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        let devices = self.read();
        devices.values().find(|device| device.key == key).cloned()
    }

    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.read().get(id).cloned()
    }

    fn all(&self) -> Vec<Arc<Device>> {
        self.read().values().cloned().collect()
    }
}
