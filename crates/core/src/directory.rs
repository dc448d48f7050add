//! What services ask about devices, without knowing who keeps them.

use std::sync::Arc;
use std::time::Duration;

use crate::device::{Device, DeviceState};
use crate::ids::{DeviceId, DeviceKey};
use crate::services::registry::Registry;

/// Answers from memory, at once: who a device is and how it is set up.
pub trait Directory: Send + Sync + 'static {
    /// The device with this key, if it is taken.
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>>;

    /// The device with this id, if it is taken.
    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>>;

    /// Every taken device, in order of their ids.
    fn all(&self) -> Vec<Arc<Device>>;
}

impl Directory for Registry {
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        Self::by_key(self, key).filter(is_taken)
    }

    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        Self::by_id(self, id).filter(is_taken)
    }

    fn all(&self) -> Vec<Arc<Device>> {
        Self::all(self, DeviceState::Active)
    }
}

fn is_taken(device: &Arc<Device>) -> bool {
    device.state == DeviceState::Active
}

/// How often `device` reports: what it says itself, else what people set.
#[must_use]
pub fn reporting_period(device: &Device) -> Option<Duration> {
    let reported = device.reported.as_ref().and_then(|it| it.period_ms);
    let set = device.settings.period_s.map(|s| u64::from(s) * 1_000);
    reported.or(set).map(Duration::from_millis)
}
