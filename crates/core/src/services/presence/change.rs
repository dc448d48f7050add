//! A change of presence as an event.

use serde_json::json;

use crate::clock::Timestamp;
use crate::device::Device;
use crate::event::{Event, EventType, Origin, Severity};
use crate::ids::EventId;
use crate::presence::{Presence, PresenceState};

/// The event `id`: `device` came to have this `presence` at `now`.
pub(super) fn change(device: &Device, presence: Presence, now: Timestamp, id: EventId) -> Event {
    let (kind, severity) = match presence.state {
        PresenceState::Online => (EventType::DeviceOnline, Severity::Info),
        PresenceState::Offline | PresenceState::Never => {
            (EventType::DeviceOffline, Severity::Warning)
        }
    };
    Event {
        id,
        device: Some((device.key, device.id.clone())),
        socket: None,
        kind,
        severity,
        ts: now,
        received_at: now,
        origin: Origin::Server,
        data: json!({
            "reason": presence.reason,
            "source": presence.source,
            "lastSeen": presence.last_seen.map(Timestamp::to_rfc3339),
        }),
    }
}
