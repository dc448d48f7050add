//! What follows from a change to a device.

use std::sync::{Arc, OnceLock};

use dormouse_core::clock::Clock;
use dormouse_core::device::{Device, DeviceState};
use dormouse_core::event::{Event, EventType, Origin, Severity};
use dormouse_core::ids::EventId;
use dormouse_core::live::{DeviceMessage, LiveHub, LiveMessage, RemovedMessage};
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::{DeviceChange, DeviceWatcher};
use dormouse_core::services::events::EventLog;
use dormouse_core::services::intake::Gate;
use dormouse_core::services::presence::PresenceTracker;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Who hears of changes to devices.
#[derive(Clone)]
pub struct DeviceChangesParts {
    /// Drops what revoked devices still send.
    pub gate: Arc<dyn Gate>,
    /// Counts who is there.
    pub presence: Arc<PresenceTracker>,
    /// Keeps recent samples.
    pub hot: Arc<dyn HotState>,
    /// Tells watchers.
    pub live: Arc<LiveHub>,
    /// Keeps what happened.
    pub events: Arc<EventLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Hands changes to devices on; made before the services that hear of them.
#[derive(Default)]
pub struct DeviceChanges {
    parts: OnceLock<DeviceChangesParts>,
}

impl std::fmt::Debug for DeviceChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceChanges").finish_non_exhaustive()
    }
}

impl DeviceChanges {
    /// Connects those who hear of changes; the first stay.
    pub fn connect(&self, parts: DeviceChangesParts) {
        self.parts.set(parts).ok();
    }
}

impl DeviceWatcher for DeviceChanges {
    fn changed(&self, device: &Device, change: DeviceChange, by: &Origin) {
        let Some(parts) = self.parts.get() else {
            return;
        };
        parts
            .gate
            .set_revoked(device.key, device.state != DeviceState::Active);
        match change {
            DeviceChange::Deleted => {
                parts.presence.forget(device.key);
                parts.hot.forget(device.key);
                parts.live.publish(&LiveMessage::Removed(RemovedMessage {
                    device_id: device.id.clone(),
                }));
            }
            DeviceChange::Added | DeviceChange::Approved | DeviceChange::Edited => {
                parts.presence.device_changed(device.key);
                if device.state == DeviceState::Active {
                    let presence = parts.presence.get(device.key);
                    let message = DeviceMessage::new(device, presence, None);
                    parts.live.publish(&LiveMessage::Device(message));
                }
            }
            DeviceChange::Rejected
            | DeviceChange::CredentialsChanged
            | DeviceChange::HandedOver => {}
        }
        if let Some(kind) = event_type(change) {
            let now = parts.clock.now();
            parts.events.record(Event {
                id: event_id(device, &kind),
                device: Some((device.key, device.id.clone())),
                socket: None,
                kind,
                severity: Severity::Info,
                ts: now,
                received_at: now,
                origin: by.clone(),
                data: json!({"state": device.state}),
            });
        }
    }
}

/// The same on every node that hears of the change, so that one event is kept.
fn event_id(device: &Device, kind: &EventType) -> EventId {
    let text = format!("{} {} {}", device.key.0, device.version, kind.name());
    let digest = Sha256::digest(text.as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    let ms = u64::try_from(device.created_at.as_millis()).unwrap_or(0);
    EventId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
}

fn event_type(change: DeviceChange) -> Option<EventType> {
    match change {
        DeviceChange::Added | DeviceChange::Approved => Some(EventType::DeviceAdded),
        DeviceChange::Deleted => Some(EventType::DeviceDeleted),
        DeviceChange::CredentialsChanged | DeviceChange::HandedOver => {
            Some(EventType::CredentialsChanged)
        }
        DeviceChange::Edited | DeviceChange::Rejected => None,
    }
}

impl std::fmt::Debug for DeviceChangesParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceChangesParts").finish_non_exhaustive()
    }
}
