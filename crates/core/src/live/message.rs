//! The messages that watchers receive: JSON with units in the names.

use serde::Serialize;
use serde_json::Value;

use super::device::{DeviceMessage, RemovedMessage, StatusMessage};
use super::outbox::About;
use super::reading::SampleMessage;
use crate::clock::{Timestamp, rfc3339};
use crate::command::{Command, Evidence, Failure, State, StateName};
use crate::event::{Event, Origin, Severity};
use crate::ids::{CommandId, DeviceId, EventId, SocketId};
use crate::presence::Presence;
use crate::wire::{AckStatus, Action};

/// One message to a watcher.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "type")]
pub enum LiveMessage {
    /// All there is to know about the subscribed topics; what came before is void.
    #[serde(rename = "snapshot")]
    Snapshot(SnapshotMessage),
    /// A device measured something.
    #[serde(rename = "telemetry")]
    Telemetry(TelemetryMessage),
    /// A device reported itself and its sockets.
    #[serde(rename = "status")]
    Status(StatusMessage),
    /// A command was sent or settled.
    #[serde(rename = "command")]
    Command(CommandMessage),
    /// A device came online.
    #[serde(rename = "DEVICE_ONLINE")]
    DeviceOnline(PresenceMessage),
    /// A device went offline.
    #[serde(rename = "DEVICE_OFFLINE")]
    DeviceOffline(PresenceMessage),
    /// Something else happened.
    #[serde(rename = "event")]
    Event(EventNotice),
    /// A device was added or edited. Watchers of a place hear of devices
    /// elsewhere, too: one of theirs may have been moved away.
    #[serde(rename = "device")]
    Device(DeviceMessage),
    /// A device was deleted.
    #[serde(rename = "deviceRemoved")]
    Removed(RemovedMessage),
    /// The fleet's totals, at most once a second.
    #[serde(rename = "fleet")]
    Fleet(FleetTotals),
    /// A message from the client broke a rule; nothing else changed.
    #[serde(rename = "error")]
    Error(ErrorMessage),
}

/// Everything about the subscribed topics at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SnapshotMessage {
    /// The topics it covers.
    pub topics: Vec<String>,
    /// The server's version; a page that was built for another should reload.
    pub version: &'static str,
    /// The server's wall clock.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub now: Timestamp,
    /// The fleet's totals; present for the topic `fleet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetTotals>,
    /// The devices that the topics name.
    pub devices: Vec<DeviceMessage>,
    /// The latest events, newest first; present for the topic `events`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventMessage>>,
}

/// Totals over all devices.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FleetTotals {
    /// Devices that are taken.
    pub devices: usize,
    /// Of these, online.
    pub online: usize,
    /// Of these, offline.
    pub offline: usize,
    /// Of these, never heard of yet.
    pub never: usize,
    /// The power that the devices online draw together, W.
    pub power_w: f64,
}

/// New readings of one device, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TelemetryMessage {
    /// Which device.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub device_id: DeviceId,
    /// The readings.
    pub samples: Vec<SampleMessage>,
}

/// Where a command stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CommandMessage {
    /// Which command.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = Uuid))]
    pub cmd_id: CommandId,
    /// For which device.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub device_id: DeviceId,
    /// For which socket; 0 for the whole strip.
    #[cfg_attr(feature = "schema", schema(value_type = u8))]
    pub socket_id: SocketId,
    /// What it asks for.
    pub action: Action,
    /// Where it stands.
    pub state: StateName,
    /// How it is known that it was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the device said after the command was final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_outcome: Option<AckStatus>,
}

impl From<&Command> for CommandMessage {
    fn from(command: &Command) -> Self {
        let progress = &command.progress;
        let (evidence, reason) = match &progress.state {
            State::Success(evidence) => (Some(*evidence), None),
            State::Failed(Failure::Refused(reason)) => (None, reason.clone()),
            State::Failed(Failure::NotSent(reason)) => (None, Some(reason.clone())),
            State::Pending | State::Timeout | State::Cancelled(_) => (None, None),
        };
        Self {
            cmd_id: command.id,
            device_id: command.device_id.clone(),
            socket_id: command.socket,
            action: command.order.action,
            state: progress.state.name(),
            evidence,
            reason,
            late_outcome: progress.late.map(|late| late.outcome),
        }
    }
}

/// A device came or went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PresenceMessage {
    /// Which device.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub device_id: DeviceId,
    /// Its presence from now on.
    pub presence: Presence,
    /// The event that keeps this change.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = Uuid))]
    pub event_id: EventId,
}

/// News of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventNotice {
    /// The device it concerns, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub device_id: Option<DeviceId>,
    /// The event.
    pub event: EventMessage,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventMessage {
    /// Which event.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = Uuid))]
    pub id: EventId,
    /// The device it concerns, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub device_id: Option<DeviceId>,
    /// The socket it concerns, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u8>))]
    pub socket_id: Option<SocketId>,
    /// What happened: one of the server's types, or `device.…` for a device's own.
    #[serde(rename = "type")]
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub ts: Timestamp,
    /// When the platform heard of it.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub received_at: Timestamp,
    /// Who or what caused it.
    pub origin: Origin,
    /// Details, free in form.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub data: Value,
}

impl From<&Event> for EventMessage {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id,
            device_id: event.device.as_ref().map(|(_, id)| id.clone()),
            socket_id: event.socket,
            kind: event.kind.name(),
            severity: event.severity,
            ts: event.ts,
            received_at: event.received_at,
            origin: event.origin.clone(),
            data: event.data.clone(),
        }
    }
}

impl From<Event> for EventMessage {
    fn from(event: Event) -> Self {
        Self::from(&event)
    }
}

/// A rule that a client's message broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorMessage {
    /// The field, as a JSON pointer; empty for the message as a whole.
    pub pointer: String,
    /// The rule.
    pub detail: String,
}

impl LiveMessage {
    /// What it is about; `None` for messages to one watcher alone.
    pub(super) fn about(&self) -> Option<About> {
        Some(match self {
            Self::Telemetry(it) => About::Telemetry(it.device_id.clone()),
            Self::Status(it) => About::Status(it.device_id.clone()),
            Self::Command(it) => About::Command(it.cmd_id, it.device_id.clone()),
            Self::DeviceOnline(it) | Self::DeviceOffline(it) => {
                About::Presence(it.device_id.clone())
            }
            Self::Event(it) => About::Event(it.event.id, it.device_id.clone()),
            Self::Device(it) => About::Device(it.device_id.clone()),
            Self::Removed(it) => About::Device(it.device_id.clone()),
            Self::Fleet(_) => About::Totals,
            Self::Snapshot(_) | Self::Error(_) => return None,
        })
    }
}
