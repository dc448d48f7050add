//! Lists of devices: filtered, searched, in pages.

use std::sync::Arc;

use super::Registry;
use crate::access::Scope;
use crate::device::{Device, DeviceState};
use crate::ids::{DeviceId, DeviceKey};
use crate::location;

/// Which devices a list shows; every field narrows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFilter {
    /// Only in this state.
    pub state: DeviceState,
    /// Only at this place or inside it.
    pub location: Option<String>,
    /// Only with this text in id, name or location, whatever its case.
    pub text: Option<String>,
    /// Only inside this part of the tree.
    pub scope: Scope,
}

impl Default for DeviceFilter {
    fn default() -> Self {
        Self {
            state: DeviceState::Active,
            location: None,
            text: None,
            scope: Scope::site(),
        }
    }
}

impl DeviceFilter {
    fn admits(&self, device: &Device) -> bool {
        let settings = &device.settings;
        let has = |text: &str| {
            contains_fold(device.id.as_str(), text)
                || contains_fold(&settings.name, text)
                || contains_fold(&settings.location, text)
        };
        device.state == self.state
            && self.scope.covers(&settings.location)
            && self
                .location
                .as_deref()
                .is_none_or(|place| location::is_inside(&settings.location, place))
            && self.text.as_deref().is_none_or(has)
    }
}

/// One page of devices, in order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// The devices.
    pub devices: Vec<Arc<Device>>,
    /// The id after which the next page starts; `None` on the last one.
    pub next: Option<DeviceId>,
}

impl Registry {
    /// At most `limit` devices after the id `after` that `filter` and `also`
    /// admit.
    pub fn list(
        &self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        limit: usize,
        mut also: impl FnMut(DeviceKey) -> bool,
    ) -> Listing {
        let filter = DeviceFilter {
            text: filter.text.as_ref().map(|text| text.to_lowercase()),
            ..filter.clone()
        };
        let index = self.read();
        let mut found = index
            .after(after)
            .map(|entry| &entry.device)
            .filter(|device| filter.admits(device) && also(device.key));
        let devices: Vec<_> = found.by_ref().take(limit).cloned().collect();
        let next = found.next().and(devices.last()).map(|last| last.id.clone());
        Listing { devices, next }
    }

    /// Every device in `state`, in order of their ids.
    #[must_use]
    pub fn all(&self, state: DeviceState) -> Vec<Arc<Device>> {
        let index = self.read();
        let devices = index.after(None).map(|entry| &entry.device);
        devices.filter(|it| it.state == state).cloned().collect()
    }

    /// How many devices wait in the inbox.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.read().pending()
    }
}

/// Whether `text`, in lower case already, occurs in `within`.
fn contains_fold(within: &str, text: &str) -> bool {
    if within.is_ascii() && text.is_ascii() {
        let (within, text) = (within.as_bytes(), text.as_bytes());
        text.is_empty()
            || within
                .windows(text.len())
                .any(|window| window.eq_ignore_ascii_case(text))
    } else {
        within.to_lowercase().contains(text)
    }
}
