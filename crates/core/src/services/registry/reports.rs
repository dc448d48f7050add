//! What devices say of themselves: applied in memory, stored behind.

use std::sync::Arc;

use super::{Registry, lock};
use crate::device::{Device, Reported};
use crate::ids::DeviceKey;
use crate::ports::PortError;

impl Registry {
    /// Replaces what the device reported by what `next` makes of the device as
    /// it is, in memory at once and in the store at the next
    /// [`Registry::flush`]. Returns the device before and after; `None` where
    /// there is none or `next` changes nothing.
    pub fn update_report(
        &self,
        key: DeviceKey,
        next: impl FnOnce(&Device) -> Option<Reported>,
    ) -> Option<(Arc<Device>, Arc<Device>)> {
        let changed = self.show_report(key, next)?;
        lock(&self.dirty).reports.insert(key);
        Some(changed)
    }

    /// [`Registry::update_report`] for a report that its caller stores: this
    /// one does not.
    pub fn show_report(
        &self,
        key: DeviceKey,
        next: impl FnOnce(&Device) -> Option<Reported>,
    ) -> Option<(Arc<Device>, Arc<Device>)> {
        let (before, after) = {
            let mut index = self.write();
            let entry = index.by_key_mut(key)?;
            let before = Arc::clone(&entry.device);
            let after = Arc::new(Device {
                reported: Some(Arc::new(next(&before)?)),
                ..(*before).clone()
            });
            entry.device = Arc::clone(&after);
            (before, after)
        };
        for watcher in &self.parts.watchers {
            watcher.reported(&after);
        }
        Some((before, after))
    }

    /// Takes over what a device reported to another node, which stores it;
    /// returns the device as it is now, `None` where nothing changes.
    pub fn take_report(&self, key: DeviceKey, reported: Arc<Reported>) -> Option<Arc<Device>> {
        let mut index = self.write();
        let entry = index.by_key_mut(key)?;
        let known = entry.device.reported.as_deref();
        if known.is_some_and(|known| known.is_newer_than_report(&reported) || *known == *reported) {
            return None;
        }
        entry.device = Arc::new(Device {
            reported: Some(reported),
            ..(*entry.device).clone()
        });
        Some(Arc::clone(&entry.device))
    }

    /// Reads every stored report again: some of other nodes' were not heard.
    /// Returns the devices whose report changed.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn reread_reports(&self) -> Result<Vec<Arc<Device>>, PortError> {
        let stored = self.parts.store.changed_since(0).await?;
        let reports = stored.into_iter().filter_map(|it| {
            let reported = it.device.reported?;
            self.take_report(it.device.key, reported)
        });
        Ok(reports.collect())
    }

    /// Stores the reports and first uses of credentials not stored yet. What
    /// cannot be stored is kept for the next time.
    ///
    /// # Errors
    /// When the store cannot take them.
    pub async fn flush(&self) -> Result<(), PortError> {
        let dirty = std::mem::take(&mut *lock(&self.dirty));
        let joined: Vec<_> = dirty.joined.iter().map(|(k, d)| (*k, d.clone())).collect();
        let reports: Vec<_> = {
            let index = self.read();
            let report =
                |key: &DeviceKey| Some((*key, index.by_key(*key)?.device.reported.clone()?));
            dirty.reports.iter().filter_map(report).collect()
        };
        let outcome = self.store_dirty(reports, joined).await;
        if outcome.is_err() {
            let mut again = lock(&self.dirty);
            again.reports.extend(dirty.reports);
            again.joined.extend(dirty.joined);
        }
        outcome
    }

    async fn store_dirty(
        &self,
        reports: Vec<(DeviceKey, Arc<Reported>)>,
        joined: Vec<(DeviceKey, crate::secret::DeviceDigest)>,
    ) -> Result<(), PortError> {
        if !reports.is_empty() {
            self.parts.store.save_reports(reports).await?;
        }
        if !joined.is_empty() {
            self.parts.store.settle_joined(joined).await?;
        }
        Ok(())
    }
}
