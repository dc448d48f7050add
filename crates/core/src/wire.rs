//! The JSON bodies of the device contract, as they travel.
//!
//! These types only fix names and shapes; what values are acceptable is
//! decided in [`crate::decode`]. Units are in the names. Unknown fields are
//! ignored, and the snake-case spellings of measurements are read too.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{CommandId, DeviceId, SocketId};

/// A device's description of itself and its sockets (`status`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusBody {
    /// Version of the contract; 1 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v: Option<u32>,
    /// `false` in a will or a farewell.
    pub online: bool,
    /// Counts the device's starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
    /// Counts the connections since that start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<u32>,
    /// Rises within `boot` over status, ack and event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Firmware version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The device's address in its own network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The device's hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Strength of the radio signal, dBm.
    #[serde(skip_serializing_if = "Option::is_none", alias = "rssi_dbm")]
    pub rssi_dbm: Option<i32>,
    /// Seconds since the device's start.
    #[serde(skip_serializing_if = "Option::is_none", alias = "uptime_s")]
    pub uptime_s: Option<u64>,
    /// Seconds between two telemetry messages.
    #[serde(skip_serializing_if = "Option::is_none", alias = "period_s")]
    pub period_s: Option<f64>,
    /// The sockets and whether each is on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketStatusBody>,
}

/// One socket in a [`StatusBody`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketStatusBody {
    /// Which socket.
    #[serde(alias = "socket_id")]
    pub socket_id: SocketId,
    /// Whether its relay is closed.
    pub on: bool,
}

/// One reading of the strip's meter, and of its sockets' where it has them
/// (`telemetry`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "FlatSample")]
pub struct SampleBody {
    /// When it was measured, unix ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<i64>,
    /// How long before sending it was measured, ms; for devices without a clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Rises within `boot` over telemetry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Counts the device's starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
    /// The strip's totals.
    #[serde(flatten)]
    pub totals: Measurements,
    /// Readings of single sockets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketSampleBody>,
}

/// [`SampleBody`] as it is read: without the buffering that flattening costs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatSample {
    ts: Option<i64>,
    #[serde(alias = "age_ms")]
    age_ms: Option<u64>,
    seq: Option<u32>,
    boot: Option<u32>,
    #[serde(alias = "power_w")]
    power_w: Option<f64>,
    #[serde(alias = "voltage_v")]
    voltage_v: Option<f64>,
    #[serde(alias = "current_a")]
    current_a: Option<f64>,
    #[serde(alias = "energy_wh")]
    energy_wh: Option<f64>,
    #[serde(alias = "power_factor")]
    power_factor: Option<f64>,
    #[serde(default)]
    sockets: Option<Vec<SocketSampleBody>>,
}

impl From<FlatSample> for SampleBody {
    fn from(flat: FlatSample) -> Self {
        Self {
            ts: flat.ts,
            age_ms: flat.age_ms,
            seq: flat.seq,
            boot: flat.boot,
            totals: Measurements {
                power_w: flat.power_w,
                voltage_v: flat.voltage_v,
                current_a: flat.current_a,
                energy_wh: flat.energy_wh,
                power_factor: flat.power_factor,
            },
            sockets: flat.sockets.unwrap_or_default(),
        }
    }
}

/// What a meter measures; every field is optional.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurements {
    /// Active power, W.
    #[serde(skip_serializing_if = "Option::is_none", alias = "power_w")]
    pub power_w: Option<f64>,
    /// Voltage, V.
    #[serde(skip_serializing_if = "Option::is_none", alias = "voltage_v")]
    pub voltage_v: Option<f64>,
    /// Current, A.
    #[serde(skip_serializing_if = "Option::is_none", alias = "current_a")]
    pub current_a: Option<f64>,
    /// The meter's counter, Wh.
    #[serde(skip_serializing_if = "Option::is_none", alias = "energy_wh")]
    pub energy_wh: Option<f64>,
    /// Power factor, −1 to 1.
    #[serde(skip_serializing_if = "Option::is_none", alias = "power_factor")]
    pub power_factor: Option<f64>,
}

/// One socket in a [`SampleBody`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "FlatSocketSample")]
pub struct SocketSampleBody {
    /// Which socket.
    pub socket_id: SocketId,
    /// Its readings.
    #[serde(flatten)]
    pub measurements: Measurements,
}

/// [`SocketSampleBody`] as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlatSocketSample {
    #[serde(alias = "socket_id")]
    socket_id: SocketId,
    #[serde(alias = "power_w")]
    power_w: Option<f64>,
    #[serde(alias = "voltage_v")]
    voltage_v: Option<f64>,
    #[serde(alias = "current_a")]
    current_a: Option<f64>,
    #[serde(alias = "energy_wh")]
    energy_wh: Option<f64>,
    #[serde(alias = "power_factor")]
    power_factor: Option<f64>,
}

impl From<FlatSocketSample> for SocketSampleBody {
    fn from(flat: FlatSocketSample) -> Self {
        Self {
            socket_id: flat.socket_id,
            measurements: Measurements {
                power_w: flat.power_w,
                voltage_v: flat.voltage_v,
                current_a: flat.current_a,
                energy_wh: flat.energy_wh,
                power_factor: flat.power_factor,
            },
        }
    }
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Close the relay.
    On,
    /// Open the relay.
    Off,
    /// Open the relay, wait, close it again.
    Cycle,
}

/// One command (`cmd`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandBody {
    /// Which command.
    pub cmd_id: CommandId,
    /// For whom.
    pub device_id: DeviceId,
    /// Which socket; 0 for all of them.
    #[serde(default)]
    pub socket_id: SocketId,
    /// What to do.
    pub action: Action,
    /// How long `cycle` stays off, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_ms: Option<u32>,
    /// How long after receipt it may still be obeyed, ms.
    pub ttl_ms: u32,
    /// The moment after which it must not be obeyed, unix ms; for devices with a clock.
    pub expires_at: i64,
}

/// A device's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum AckStatus {
    /// It did what it was told.
    Success,
    /// It did not.
    Failed,
}

/// The verdict on one command (`ack`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AckBody {
    /// Which command.
    #[serde(alias = "cmd_id")]
    pub cmd_id: CommandId,
    /// The verdict.
    pub status: AckStatus,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which socket; 0 for all of them.
    #[serde(default, alias = "socket_id")]
    pub socket_id: SocketId,
    /// Whether the relay is closed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Counts the device's starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
    /// Rises within `boot` over status, ack and event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
}

/// Something that happened at the device (`event`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventBody {
    /// When, unix ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<i64>,
    /// How long before sending it happened, ms; for devices without a clock.
    #[serde(skip_serializing_if = "Option::is_none", alias = "age_ms")]
    pub age_ms: Option<u64>,
    /// Rises within `boot` over status, ack and event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u32>,
    /// Counts the device's starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<u32>,
    /// What happened: `overload`, `button`, `boot` or a name of the firmware's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which socket; 0 for the whole strip.
    #[serde(default, alias = "socket_id")]
    pub socket_id: SocketId,
    /// Details, free in form.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

/// Credentials for a device that joined with a key (`enrol`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolBody {
    /// The device's id.
    pub username: DeviceId,
    /// Its new secret.
    pub password: String,
}
