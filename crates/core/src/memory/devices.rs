//! Devices in a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::device::{Device, DeviceState, Reported};
use crate::ids::{DeviceId, DeviceKey};
use crate::ports::{
    DeviceAccess, DeviceStore, DeviceWrites, NewDevice, PortError, StoredDevice, Written,
};
use crate::secret::DeviceDigest;

/// Devices in a map by key.
#[derive(Debug, Default)]
pub struct MemoryDevices(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<DeviceKey, StoredDevice>,
    revision: i64,
}

impl Table {
    fn is_taken(&self, id: &DeviceId) -> bool {
        self.rows
            .values()
            .any(|row| row.device.id == *id && row.device.state != DeviceState::Deleted)
    }

    fn next_revision(&mut self) -> i64 {
        self.revision += 1;
        self.revision
    }

    fn insert(&mut self, new: NewDevice) -> StoredDevice {
        let last = self.rows.last_key_value().map_or(0, |(key, _)| key.0);
        let stored = StoredDevice {
            device: Device {
                key: DeviceKey(last + 1),
                id: new.id,
                state: new.state,
                settings: new.settings,
                reported: None,
                version: 1,
                created_at: new.created_at,
            },
            access: new.access,
            revision: self.next_revision(),
        };
        self.rows.insert(stored.device.key, stored.clone());
        stored
    }

    fn replace(&mut self, next: StoredDevice) -> Option<StoredDevice> {
        let revision = self.next_revision();
        let row = self.rows.get_mut(&next.device.key)?;
        let reported = row.device.reported.take();
        *row = StoredDevice { revision, ..next };
        row.device.reported = reported;
        Some(row.clone())
    }
}

impl MemoryDevices {
    /// Keeps those of `reports` that are newer than what is stored.
    pub(super) fn save_newer_reports(&self, reports: Vec<(DeviceKey, Arc<Reported>)>) {
        let mut table = lock(&self.0);
        for (key, reported) in reports {
            if let Some(row) = table.rows.get_mut(&key)
                && row
                    .device
                    .reported
                    .as_ref()
                    .is_none_or(|it| it.at < reported.at)
            {
                row.device.reported = Some(reported);
            }
        }
    }
}

#[async_trait]
impl DeviceStore for MemoryDevices {
    async fn changed_since(&self, revision: i64) -> Result<Vec<StoredDevice>, PortError> {
        let table = lock(&self.0);
        let mut rows: Vec<_> = table
            .rows
            .values()
            .filter(|row| row.revision > revision)
            .cloned()
            .collect();
        rows.sort_by_key(|row| row.revision);
        Ok(rows)
    }

    async fn write(&self, writes: DeviceWrites) -> Result<Written, PortError> {
        let mut table = lock(&self.0);
        let DeviceWrites { insert, swap } = writes;
        for (at, new) in insert.iter().enumerate() {
            let twice = insert[..at].iter().any(|earlier| earlier.id == new.id);
            if twice || table.is_taken(&new.id) {
                return Ok(Written::Taken(new.id.clone()));
            }
        }
        let is_current = |next: &StoredDevice| {
            let row = table.rows.get(&next.device.key);
            row.is_some_and(|row| row.device.version.checked_add(1) == Some(next.device.version))
        };
        if !swap.iter().all(is_current) {
            return Ok(Written::Stale);
        }
        let mut written: Vec<_> = insert.into_iter().map(|new| table.insert(new)).collect();
        written.extend(swap.into_iter().filter_map(|next| table.replace(next)));
        Ok(Written::All(written))
    }

    async fn save_reports(
        &self,
        reports: Vec<(DeviceKey, Arc<Reported>)>,
    ) -> Result<(), PortError> {
        let mut table = lock(&self.0);
        for (key, reported) in reports {
            if let Some(row) = table.rows.get_mut(&key) {
                row.device.reported = Some(reported);
            }
        }
        Ok(())
    }

    async fn settle_joined(&self, joined: Vec<(DeviceKey, DeviceDigest)>) -> Result<(), PortError> {
        let mut table = lock(&self.0);
        for (key, digest) in joined {
            let revision = table.next_revision();
            if let Some(row) = table.rows.get_mut(&key)
                && row.access == DeviceAccess::Joining(Some(digest.clone()))
            {
                row.access = DeviceAccess::Credentials(digest);
                row.revision = revision;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_device_store_contract() {
        crate::contract::device_store(&MemoryDevices::default()).await;
    }
}
