//! What devices are added up by.

use std::collections::HashMap;
use std::sync::Arc;

use crate::device::Device;
use crate::ids::DeviceKey;

/// What devices are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// Each on its own.
    Device,
    /// The rooms.
    Room,
    /// The floors.
    Floor,
    /// The buildings.
    Building,
}

impl Grouping {
    /// The group of each device that has one; rooms and floors are named with
    /// the places they are in, as `A/3/302`.
    pub(super) fn groups(self, devices: &[Arc<Device>]) -> HashMap<DeviceKey, String> {
        let named = |device: &Arc<Device>| Some((device.key, self.name(device)?));
        devices.iter().filter_map(named).collect()
    }

    fn name(self, device: &Device) -> Option<String> {
        let levels = match self {
            Self::Device => return Some(device.id.as_str().to_owned()),
            Self::Room => 3,
            Self::Floor => 2,
            Self::Building => 1,
        };
        let location = &device.settings.location;
        let cut = location.match_indices('/').nth(levels - 1);
        let place = cut.map_or(location.as_str(), |(at, _)| &location[..at]);
        // A device known to be on a floor is in none of its rooms.
        let deep_enough = !place.is_empty() && place.split('/').count() == levels;
        deep_enough.then(|| place.to_owned())
    }
}
