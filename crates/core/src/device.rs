//! A device as the platform knows it: what people set, what it reports, how
//! it may sign in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey, SOCKET_MAX, SocketId};
use crate::location;

/// Where a device stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Waits in the inbox for approval.
    Pending,
    /// Taken.
    Active,
    /// Refused in the inbox; the join key does not let this id in again.
    Rejected,
    /// Deleted; the tombstone keeps key and history.
    Deleted,
}

impl DeviceState {
    /// The state's name in the API and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Rejected => "rejected",
            Self::Deleted => "deleted",
        }
    }

    /// Reads a name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "pending" => Self::Pending,
            "active" => Self::Active,
            "rejected" => Self::Rejected,
            "deleted" => Self::Deleted,
            _ => return None,
        })
    }
}

/// What people set about a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceSettings {
    /// A name for people; empty where none was given.
    pub name: String,
    /// `building/floor/room`; empty where unknown.
    pub location: String,
    /// Number of sockets; `None` until set or reported.
    pub sockets: Option<u8>,
    /// Seconds between reports, where the device does not say itself.
    pub period_s: Option<u32>,
}

/// A rule that a field broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct BrokenRule {
    /// The field, as the API names it.
    pub field: &'static str,
    /// The rule.
    pub rule: &'static str,
}

impl DeviceSettings {
    /// The longest name, in characters.
    pub const NAME_MAX: usize = 64;
    /// The longest period, seconds: a day.
    pub const PERIOD_MAX_S: u32 = 86_400;

    /// Checks every field.
    ///
    /// # Errors
    /// All rules that are broken.
    pub fn check(&self) -> Result<(), Vec<BrokenRule>> {
        let name_ok =
            self.name.chars().count() <= Self::NAME_MAX && !self.name.contains(char::is_control);
        let sockets_ok = self.sockets.is_none_or(|n| (1..=SOCKET_MAX).contains(&n));
        let period_ok = self
            .period_s
            .is_none_or(|s| (1..=Self::PERIOD_MAX_S).contains(&s));
        let rules = [
            (
                name_ok,
                "name",
                "at most 64 characters, no control characters",
            ),
            (
                location::check(&self.location).is_ok(),
                "location",
                "up to three levels 'building/floor/room', each 1 to 32 characters without spaces at its ends or control characters",
            ),
            (sockets_ok, "sockets", "1 to 32, or null where unknown"),
            (period_ok, "periodS", "1 to 86400, or null where unknown"),
        ];
        let broken: Vec<BrokenRule> = rules
            .into_iter()
            .filter(|(ok, ..)| !ok)
            .map(|(_, field, rule)| BrokenRule { field, rule })
            .collect();
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }
}

/// An edit of [`DeviceSettings`]: `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsEdit {
    /// The new name.
    pub name: Option<String>,
    /// The new location.
    pub location: Option<String>,
    /// The new number of sockets, or unknown.
    pub sockets: Option<Option<u8>>,
    /// The new period, seconds, or unknown.
    pub period_s: Option<Option<u32>>,
}

impl SettingsEdit {
    /// `settings` with the edit made.
    #[must_use]
    pub fn apply(self, mut settings: DeviceSettings) -> DeviceSettings {
        if let Some(name) = self.name {
            settings.name = name;
        }
        if let Some(location) = self.location {
            settings.location = location;
        }
        if let Some(sockets) = self.sockets {
            settings.sockets = sockets;
        }
        if let Some(period_s) = self.period_s {
            settings.period_s = period_s;
        }
        settings
    }
}

/// A device without what changes by the second (see presence and hot state).
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The key inside the platform.
    pub key: DeviceKey,
    /// The public name.
    pub id: DeviceId,
    /// Where it stands in its life.
    pub state: DeviceState,
    /// What people set.
    pub settings: DeviceSettings,
    /// What it said of itself last; `None` before its first status.
    pub reported: Option<Arc<Reported>>,
    /// Rises with each edit; the ETag.
    pub version: u32,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A device's last report of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reported {
    /// The device's start count, if it tells.
    pub boot: Option<u32>,
    /// Its connection count since that start, if it tells.
    pub conn: Option<u32>,
    /// The last sequence number applied within `boot`.
    pub seq: Option<u32>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Address in its own network.
    pub ip: Option<String>,
    /// Hardware address.
    pub mac: Option<String>,
    /// Strength of the radio signal, dBm.
    pub rssi_dbm: Option<i32>,
    /// Seconds since its start.
    pub uptime_s: Option<u64>,
    /// Milliseconds between reports, if it tells.
    pub period_ms: Option<u64>,
    /// When this was received.
    pub at: Timestamp,
    /// The sockets in order of their numbers.
    pub sockets: Vec<SocketState>,
}

/// What is known of one socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketState {
    /// Which socket.
    pub socket: SocketId,
    /// Whether its relay is closed.
    pub on: bool,
    /// When that changed last.
    pub changed_at: Timestamp,
    /// Who or what changed it.
    pub origin: Origin,
}

impl Device {
    /// Whether it may have `socket`: as set, as reported, or while nothing is
    /// known, any.
    #[must_use]
    pub fn may_have(&self, socket: SocketId) -> bool {
        let reported = self.reported.as_ref().map(|it| it.sockets.as_slice());
        let reported = reported.unwrap_or_default();
        let unknown = self.settings.sockets.is_none() && reported.is_empty();
        unknown
            || socket.is_strip()
            || self.settings.sockets.is_some_and(|n| socket.get() <= n)
            || reported.iter().any(|it| it.socket == socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_rule_is_named() {
        let settings = DeviceSettings {
            name: "x".repeat(65),
            location: "A//3".to_owned(),
            sockets: Some(33),
            period_s: Some(0),
        };
        let fields: Vec<_> = settings
            .check()
            .unwrap_err()
            .iter()
            .map(|it| it.field)
            .collect();
        assert_eq!(fields, ["name", "location", "sockets", "periodS"]);
        assert_eq!(DeviceSettings::default().check(), Ok(()));
    }

    #[test]
    fn an_edit_leaves_what_it_does_not_name() {
        let before = DeviceSettings {
            name: "Desk".to_owned(),
            sockets: Some(4),
            ..DeviceSettings::default()
        };
        let edit = SettingsEdit {
            location: Some("A/3".to_owned()),
            sockets: Some(None),
            ..SettingsEdit::default()
        };
        let after = edit.apply(before);
        assert_eq!((after.name.as_str(), after.sockets), ("Desk", None));
        assert_eq!(after.location, "A/3");
    }
}
