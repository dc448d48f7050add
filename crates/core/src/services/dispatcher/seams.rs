//! What the dispatcher asks of the rest of the platform, and tells it.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::command::{Batch, Command};
use crate::device::Device;
use crate::event::{Event, Origin};
use crate::ids::{CommandId, DeviceId, DeviceKey};
use crate::reported::RelayReport;
use crate::wire::AckStatus;

/// The devices, as the dispatcher needs them. Answers come from memory.
pub trait Fleet: Send + Sync + 'static {
    /// The device with this id, unless it is unknown, waits for approval or
    /// was deleted.
    fn device(&self, id: &DeviceId) -> Option<Arc<Device>>;

    /// Every such device at `location` or below it.
    fn at_location(&self, location: &str) -> Vec<Arc<Device>>;

    /// Whether the device is online.
    fn is_online(&self, device: DeviceKey) -> bool;

    /// Takes over what an ack or a report proved of a relay, and who caused
    /// it, unless something newer is known of it.
    fn relay_reported(&self, report: RelayReport);
}

/// What happened to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// It was written and handed to the broker.
    Sent,
    /// It became final.
    Settled,
    /// It became final because this caller asked for it.
    Cancelled(&'a Origin),
    /// A verdict came too late.
    Late,
    /// It became final on another node, which told whoever keeps such things.
    Elsewhere,
}

/// Who wants to hear of commands: live views, the log, the audit log.
/// Returns at once; called in the order in which things happened.
pub trait Outlet: Send + Sync + 'static {
    /// A command changed; the change is written.
    fn command(&self, command: &Arc<Command>, change: Change<'_>);

    /// A batch began.
    fn batch(&self, batch: &Arc<Batch>);

    /// Something to keep: a foreign or an orphan ack.
    fn event(&self, event: Event);
}

/// A device's verdict as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Who said it.
    pub device: DeviceKey,
    /// The device's public name.
    pub device_id: DeviceId,
    /// On which command.
    pub command: CommandId,
    /// The verdict.
    pub status: AckStatus,
    /// Why it failed, if it told.
    pub reason: Option<String>,
    /// Whether the relay is closed now, if it told.
    pub on: Option<bool>,
    /// The device's start count, if it told.
    pub boot: Option<u32>,
    /// The message's sequence number within `boot`, if it told.
    pub seq: Option<u32>,
    /// When it was received.
    pub received_at: Timestamp,
}
