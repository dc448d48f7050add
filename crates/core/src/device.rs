//! A device as the platform knows it: what people set, what it reports, how
//! it may sign in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey, SocketId};

/// Where a device stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Waits in the inbox for approval.
    Pending,
    /// Taken.
    Active,
    /// Deleted; the tombstone keeps key and history.
    Deleted,
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
