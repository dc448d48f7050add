//! Many commands ordered in one go.

use super::{Command, OnPending, Order};
use crate::clock::Timestamp;
use crate::event::Origin;
use crate::ids::{BatchId, DeviceId, DeviceKey, SocketId};
use crate::ports::nodes::NodeId;

/// The most targets of one batch.
pub const BATCH_TARGETS_MAX: usize = 10_000;

/// One order for many sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which batch.
    pub id: BatchId,
    /// What each target is told.
    pub order: Order,
    /// What happens to commands that are pending there.
    pub on_pending: OnPending,
    /// Whether devices that are offline are told as well.
    pub send_offline: bool,
    /// Who ordered it.
    pub origin: Origin,
    /// Which node sends it.
    pub node: NodeId,
    /// When.
    pub created_at: Timestamp,
    /// Whom it concerns.
    pub targets: Vec<Target>,
}

/// One socket, or a whole strip, of a [`Batch`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whose.
    pub device: DeviceKey,
    /// The device's public name.
    pub device_id: DeviceId,
    /// Which socket; 0 for all of them.
    pub socket: SocketId,
}

/// How one target of a batch fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemResult {
    /// Its turn has not come.
    Waiting,
    /// It was not sent, and why.
    Refused(Refusal),
    /// It was sent; the command says how that went.
    Sent(Box<Command>),
}

/// Why a target of a batch was sent nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A command was pending there.
    Pending,
    /// The device was offline.
    Offline,
    /// The device was deleted while the batch ran.
    Gone,
    /// The server stopped before its turn came.
    Interrupted,
}

impl Refusal {
    /// The refusal's name in the API and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "command-pending",
            Self::Offline => "device-offline",
            Self::Gone => "unknown-device",
            Self::Interrupted => "interrupted",
        }
    }

    /// Reads a name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "command-pending" => Self::Pending,
            "device-offline" => Self::Offline,
            "unknown-device" => Self::Gone,
            "interrupted" => Self::Interrupted,
            _ => return None,
        })
    }
}

/// A batch and how each of its targets fared, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchReport {
    /// What was ordered.
    pub batch: Batch,
    /// One result per target.
    pub results: Vec<ItemResult>,
}
