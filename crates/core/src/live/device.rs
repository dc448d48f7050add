//! Devices as watchers see them.

use serde::Serialize;

use super::reading::SampleMessage;
use crate::clock::{Timestamp, rfc3339};
use crate::device::{Device, Reported, SocketState};
use crate::event::Origin;
use crate::ids::{DeviceId, SocketId};
use crate::presence::Presence;

/// One device with what changes by the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceMessage {
    /// Which device.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub device_id: DeviceId,
    /// Its name; empty where it has none.
    pub name: String,
    /// Where it is: `building/floor/room`; empty where unknown.
    pub location: String,
    /// Whether it is there.
    pub presence: Presence,
    /// Its sockets as reported last.
    pub sockets: Vec<SocketMessage>,
    /// Its latest reading; absent where it is unknown here, so that what was
    /// known before still holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<SampleMessage>,
}

impl DeviceMessage {
    /// Puts together what is known of `device`.
    #[must_use]
    pub fn new(device: &Device, presence: Presence, latest: Option<SampleMessage>) -> Self {
        Self {
            device_id: device.id.clone(),
            name: device.settings.name.clone(),
            location: device.settings.location.clone(),
            presence,
            sockets: device
                .reported
                .iter()
                .flat_map(|reported| &reported.sockets)
                .map(SocketMessage::from)
                .collect(),
            latest,
        }
    }
}

/// A device that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RemovedMessage {
    /// Which device.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub device_id: DeviceId,
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SocketMessage {
    /// Which socket.
    #[cfg_attr(feature = "schema", schema(value_type = u8))]
    pub socket_id: SocketId,
    /// Whether its relay is closed.
    pub on: bool,
    /// When that changed last.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub changed_at: Timestamp,
    /// Who or what changed it.
    pub origin: Origin,
}

impl From<&SocketState> for SocketMessage {
    fn from(state: &SocketState) -> Self {
        Self {
            socket_id: state.socket,
            on: state.on,
            changed_at: state.changed_at,
            origin: state.origin.clone(),
        }
    }
}

/// A device's report of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StatusMessage {
    /// Which device.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub device_id: DeviceId,
    /// Its sockets.
    pub sockets: Vec<SocketMessage>,
    /// Firmware version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Address in its own network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Strength of the radio signal, dBm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rssi_dbm: Option<i32>,
    /// Seconds since its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_s: Option<u64>,
    /// When the report arrived.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
}

impl StatusMessage {
    /// Shows what `device` reported.
    #[must_use]
    pub fn new(device: DeviceId, reported: &Reported) -> Self {
        Self {
            device_id: device,
            sockets: reported.sockets.iter().map(SocketMessage::from).collect(),
            firmware: reported.firmware.clone(),
            ip: reported.ip.clone(),
            rssi_dbm: reported.rssi_dbm,
            uptime_s: reported.uptime_s,
            at: reported.at,
        }
    }
}
