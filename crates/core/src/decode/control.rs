//! The messages besides telemetry: status, ack and event.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DeviceTime, Reason, Refusal, parse, text};
use crate::clock::Timestamp;
use crate::ids::{CommandId, SOCKET_MAX, SocketId};
use crate::wire::{AckBody, AckStatus, EventBody, StatusBody};

/// A message's place among its device's others: `seq` rises within `boot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence {
    /// Which start of the device.
    pub boot: u32,
    /// Which message since.
    pub seq: u32,
}

impl Sequence {
    /// The place, where both parts are told; one alone orders nothing.
    #[must_use]
    pub fn of(boot: Option<u32>, seq: Option<u32>) -> Option<Self> {
        Some(Self {
            boot: boot?,
            seq: seq?,
        })
    }
}

/// A device's checked report of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `false` in a will or a farewell.
    pub online: bool,
    /// Counts the device's starts.
    pub boot: Option<u32>,
    /// Counts the connections since that start.
    pub conn: Option<u32>,
    /// Rises within `boot` over status, ack and event.
    pub seq: Option<u32>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// The device's address in its own network.
    pub ip: Option<String>,
    /// The device's hardware address.
    pub mac: Option<String>,
    /// Strength of the radio signal, dBm.
    pub rssi_dbm: Option<i32>,
    /// Seconds since the device's start.
    pub uptime_s: Option<u64>,
    /// Milliseconds between two telemetry messages.
    pub period_ms: Option<u64>,
    /// The sockets in order of their numbers, and whether each is on.
    pub sockets: Vec<(SocketId, bool)>,
}

/// A device's checked verdict on one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which command.
    pub command: CommandId,
    /// The verdict.
    pub status: AckStatus,
    /// Why it failed; shortened to 256 bytes.
    pub reason: Option<String>,
    /// Which socket; 0 for all of them.
    pub socket: SocketId,
    /// Whether the relay is closed now.
    pub on: Option<bool>,
    /// Its place among the device's messages.
    pub sequence: Option<Sequence>,
}

/// Something that happened at a device, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceEvent {
    /// When, as the device tells it.
    pub time: DeviceTime,
    /// The firmware's name for it.
    pub kind: String,
    /// Which socket; 0 for the whole strip.
    pub socket: SocketId,
    /// Details, free in form.
    pub data: Value,
    /// Its place among the device's messages.
    pub sequence: Option<Sequence>,
}

/// Decodes a status or a will.
///
/// # Errors
/// When the body breaks a rule.
pub fn decode_status(body: &[u8]) -> Result<Status, Refusal> {
    let status = parse::<StatusBody>(body)?;
    let mut sockets = Vec::with_capacity(status.sockets.len());
    for (index, socket) in status.sockets.iter().enumerate() {
        if socket.socket_id.is_strip() {
            let field = format!("sockets[{index}].socketId");
            let rule = format!("1 to {SOCKET_MAX}");
            return Err(Refusal::new(Reason::OutOfRange, field, rule));
        }
        sockets.push((socket.socket_id, socket.on));
    }
    sockets.sort_unstable_by_key(|(socket, _)| *socket);
    if sockets.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        let rule = "the same socket twice in one status";
        return Err(Refusal::new(Reason::DuplicateSocket, "sockets", rule));
    }
    if status
        .rssi_dbm
        .is_some_and(|dbm| !(-200..=50).contains(&dbm))
    {
        let rule = "between -200 and 50";
        return Err(Refusal::new(Reason::OutOfRange, "rssiDbm", rule));
    }
    Ok(Status {
        online: status.online,
        boot: status.boot,
        conn: status.conn,
        seq: status.seq,
        firmware: text("firmware", status.firmware, 64)?,
        ip: text("ip", status.ip, 45)?,
        mac: text("mac", status.mac, 32)?,
        rssi_dbm: status.rssi_dbm,
        uptime_s: status.uptime_s,
        period_ms: period_ms(status.period_s)?,
        sockets,
    })
}

/// A day is the longest period that makes sense between reports.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and 86,400,000"
)]
fn period_ms(period_s: Option<f64>) -> Result<Option<u64>, Refusal> {
    match period_s {
        None => Ok(None),
        Some(s) if (0.001..=86_400.0).contains(&s) => Ok(Some((s * 1000.0).round() as u64)),
        Some(_) => Err(Refusal::new(
            Reason::OutOfRange,
            "periodS",
            "between 0.001 and 86400",
        )),
    }
}

/// Decodes a verdict.
///
/// # Errors
/// When the body breaks a rule.
pub fn decode_ack(body: &[u8]) -> Result<Ack, Refusal> {
    let ack = parse::<AckBody>(body)?;
    Ok(Ack {
        command: ack.cmd_id,
        status: ack.status,
        reason: ack.reason.as_deref().map(printable),
        socket: ack.socket_id,
        on: ack.on,
        sequence: Sequence::of(ack.boot, ack.seq),
    })
}

/// A long explanation must not cost the verdict: it is cut, not refused.
fn printable(reason: &str) -> String {
    let mut end = reason.len().min(256);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].replace(char::is_control, " ")
}

/// Decodes an event.
///
/// # Errors
/// When the body breaks a rule.
pub fn decode_event(body: &[u8], received_at: Timestamp) -> Result<DeviceEvent, Refusal> {
    let event = parse::<EventBody>(body)?;
    let named = (1..=64).contains(&event.kind.len())
        && event
            .kind
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !named {
        return Err(Refusal::new(
            Reason::OutOfRange,
            "type",
            "1 to 64 letters, digits, '.', '_' or '-'",
        ));
    }
    Ok(DeviceEvent {
        time: DeviceTime::parse(event.ts, event.age_ms, received_at)?,
        kind: event.kind,
        socket: event.socket_id,
        data: event.data,
        sequence: Sequence::of(event.boot, event.seq),
    })
}
