//! What can be set of the platform itself.

use std::net::SocketAddr;

use dormouse_core::presence::OfflineAfter;
use dormouse_core::services::registry::JoinMode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The building.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Shown on the page.
    pub name: String,
    /// IANA time zone.
    pub time_zone: String,
}

/// The page and the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to listen.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Whether a proxy in front speaks HTTPS.
    pub behind_tls: bool,
}

/// The embedded broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Where to listen.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// First level or levels of every topic.
    pub topic_root: String,
    /// Connections at once.
    pub connections_max: u32,
    /// Connections at once from one address.
    pub connections_per_address_max: u32,
    /// New connections per second.
    pub connects_per_second_max: u32,
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Preallocated size, MiB.
    pub size_mib: u32,
}

/// How unknown devices come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// What the join key is worth.
    pub mode: JoinMode,
    /// What a device that an external broker let in and nobody added is worth.
    pub unknown: JoinMode,
    /// Devices that may wait in the inbox.
    pub pending_max: u32,
}

/// Who counts as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// How long a silence makes a device offline.
    pub offline_after: OfflineAfter,
}

/// How long what is kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Raw samples.
    pub raw_days: u32,
    /// Minute rollups.
    pub minute_days: u32,
    /// Events.
    pub event_days: u32,
    /// Commands.
    pub command_days: u32,
    /// The audit log.
    pub audit_days: u32,
    /// GiB for the history database; 0 for no budget.
    pub history_budget_gib: u32,
}

/// What `/metrics` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Devices with figures of their own; 0 for none.
    pub fleet_devices_max: u32,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people or machines.
    pub format: LogFormat,
    /// Levels per module.
    pub filter: String,
}

/// For people or machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

fn listen<'de, D: Deserializer<'de>>(value: D) -> Result<SocketAddr, D::Error> {
    listen_address(&String::deserialize(value)?).map_err(D::Error::custom)
}

/// Reads where to listen.
///
/// # Errors
/// What `text` must be, where it is not.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "must be an IP address and a port, such as 127.0.0.1:8080 or, on all addresses, 0.0.0.0:8080".to_owned()
    })
}
