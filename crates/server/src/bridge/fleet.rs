//! The devices as the dispatcher needs them.

use std::sync::Arc;

use dormouse_core::device::{Device, Reported};
use dormouse_core::directory::Directory;
use dormouse_core::ids::{DeviceId, DeviceKey};
use dormouse_core::live::LiveHub;
use dormouse_core::location::is_inside;
use dormouse_core::reported::RelayReport;
use dormouse_core::services::dispatcher::Fleet;
use dormouse_core::services::presence::PresenceTracker;
use dormouse_core::services::registry::Registry;

/// Registry and presence, as the dispatcher asks for them.
#[derive(Debug, Clone)]
pub struct CommandFleet {
    /// Who the devices are.
    pub registry: Arc<Registry>,
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// Tells watchers of relays that moved.
    pub live: Arc<LiveHub>,
}

impl Fleet for CommandFleet {
    fn device(&self, id: &DeviceId) -> Option<Arc<Device>> {
        Directory::by_id(&*self.registry, id)
    }

    fn at_location(&self, location: &str) -> Vec<Arc<Device>> {
        let mut devices = Directory::all(&*self.registry);
        devices.retain(|device| is_inside(&device.settings.location, location));
        devices
    }

    fn is_online(&self, device: DeviceKey) -> bool {
        self.presence.is_online(device)
    }

    fn relay_reported(&self, report: RelayReport) {
        let changed = self.registry.update_report(report.device, |device| {
            let sockets = device.settings.sockets.unwrap_or(0);
            Reported::after_relay_report(device.reported.as_deref(), sockets, &report)
        });
        if let Some((_, after)) = changed
            && let Some(reported) = &after.reported
        {
            self.live.status(&after.id, reported);
        }
    }
}
