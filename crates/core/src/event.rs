//! Things that happened, as they are kept and shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::device::Device;
use crate::ids::{DeviceId, DeviceKey, EventId, SocketId};
use crate::record::EventRecord;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look when there is time.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// How much a device's own event matters, by the firmware's name for it.
    #[must_use]
    pub fn of_device_event(name: &str) -> Self {
        match name {
            "overload" | "overheat" | "fault" => Self::Critical,
            "brownout" | "watchdog" => Self::Warning,
            _ => Self::Info,
        }
    }
}

/// What happened. The server's own types are this closed set; devices' own
/// names travel as `device.*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A device came online.
    DeviceOnline,
    /// A device went offline.
    DeviceOffline,
    /// A device was added, by a person or by registering itself.
    DeviceAdded,
    /// A device was deleted.
    DeviceDeleted,
    /// A device's credentials were replaced or revoked.
    CredentialsChanged,
    /// Two live sessions fought over one identity.
    IdentityConflict,
    /// An ack named a command of another device.
    ForeignAck,
    /// An ack named a command that nobody knows, such as one lost in a power cut.
    OrphanAck,
    /// Many devices of one place went together.
    Incident,
    /// The device reported something itself: `device.{name}`.
    Device(String),
}

impl EventType {
    /// The type's name in the API and the database.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::DeviceOnline => "DEVICE_ONLINE".to_owned(),
            Self::DeviceOffline => "DEVICE_OFFLINE".to_owned(),
            Self::DeviceAdded => "device-added".to_owned(),
            Self::DeviceDeleted => "device-deleted".to_owned(),
            Self::CredentialsChanged => "credentials-changed".to_owned(),
            Self::IdentityConflict => "identity-conflict".to_owned(),
            Self::ForeignAck => "foreign-ack".to_owned(),
            Self::OrphanAck => "orphan-ack".to_owned(),
            Self::Incident => "incident".to_owned(),
            Self::Device(name) => format!("device.{name}"),
        }
    }

    /// Reads a name back; `None` for a name the platform does not know.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "DEVICE_ONLINE" => Self::DeviceOnline,
            "DEVICE_OFFLINE" => Self::DeviceOffline,
            "device-added" => Self::DeviceAdded,
            "device-deleted" => Self::DeviceDeleted,
            "credentials-changed" => Self::CredentialsChanged,
            "identity-conflict" => Self::IdentityConflict,
            "foreign-ack" => Self::ForeignAck,
            "orphan-ack" => Self::OrphanAck,
            "incident" => Self::Incident,
            other => Self::Device(other.strip_prefix("device.")?.to_owned()),
        })
    }
}

/// Who or what caused a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Origin {
    /// A signed-in person.
    User {
        /// Their name.
        name: String,
    },
    /// A script with an API token.
    Token {
        /// The token's name.
        name: String,
    },
    /// The device itself: its button, its own protection, its start.
    Device,
    /// The platform.
    Server,
}

impl Origin {
    /// The name of the person or token.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User { name } | Self::Token { name } => Some(name),
            Self::Device | Self::Server => None,
        }
    }

    /// The kind's name in the API and the database.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Token { .. } => "token",
            Self::Device => "device",
            Self::Server => "server",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Which event; made where it enters, so that a repeated write changes nothing.
    pub id: EventId,
    /// The device it concerns, if one.
    pub device: Option<(DeviceKey, DeviceId)>,
    /// The socket it concerns; `None` where no device is concerned.
    pub socket: Option<SocketId>,
    /// What happened.
    pub kind: EventType,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened.
    pub ts: Timestamp,
    /// When the platform heard of it.
    pub received_at: Timestamp,
    /// Who or what caused it.
    pub origin: Origin,
    /// Details, free in form.
    pub data: Value,
}

impl Event {
    /// What `device` reported itself, received at `received_at`.
    #[must_use]
    pub fn of_device(device: &Device, record: &EventRecord, received_at: Timestamp) -> Self {
        Self {
            id: record.id,
            device: Some((device.key, device.id.clone())),
            socket: Some(record.socket),
            kind: EventType::Device(record.kind.clone()),
            severity: Severity::of_device_event(&record.kind),
            ts: record.ts,
            received_at,
            origin: Origin::Device,
            data: record.data.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_danger_to_the_building_is_critical_and_a_button_is_not() {
        for (name, severity) in [
            ("overload", Severity::Critical),
            ("overheat", Severity::Critical),
            ("fault", Severity::Critical),
            ("brownout", Severity::Warning),
            ("watchdog", Severity::Warning),
            ("button", Severity::Info),
            ("", Severity::Info),
        ] {
            assert_eq!(Severity::of_device_event(name), severity, "{name}");
        }
    }
}
