//! What callers ask of the dispatcher, and what they hear.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{BATCH_TARGETS_MAX, Command, OnPending, Order};
use crate::event::Origin;
use crate::ids::{BatchId, CommandId, DeviceId, SocketId};
use crate::ports::PortError;

/// The longest idempotency key, in characters.
pub const KEY_MAX: usize = 255;
/// How long an idempotency key is remembered.
pub const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// One command, please.
#[derive(Debug, Clone)]
pub struct SendRequest {
    /// For whom.
    pub device: DeviceId,
    /// Which socket; 0 for all of them.
    pub socket: SocketId,
    /// What to do.
    pub order: Order,
    /// What happens to a command that is pending there.
    pub on_pending: OnPending,
    /// Whether to send it to a device that is offline.
    pub send_offline: bool,
    /// Who asks.
    pub origin: Origin,
    /// A stable name of the caller, and the key that makes asking twice harmless.
    pub key: Option<(Arc<str>, String)>,
}

/// One order for many sockets, please.
#[derive(Debug, Clone)]
pub struct BatchRequest {
    /// The devices and sockets; no target twice.
    pub targets: Vec<(DeviceId, SocketId)>,
    /// Instead of `targets`: every whole strip at this location or below it.
    pub location: Option<String>,
    /// What to do.
    pub order: Order,
    /// What happens to commands that are pending there.
    pub on_pending: OnPending,
    /// Whether to send to devices that are offline.
    pub send_offline: bool,
    /// Who asks.
    pub origin: Origin,
    /// A stable name of the caller, and the key that makes asking twice harmless.
    pub key: Option<(Arc<str>, String)>,
}

/// A command as it was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The command.
    pub command: Arc<Command>,
    /// Whether it was sent by an earlier request with the same key.
    pub replayed: bool,
}

/// A batch as it was taken on.
#[derive(Debug, Clone)]
pub struct BatchStarted {
    /// Which batch.
    pub id: BatchId,
    /// Whether it was taken on by an earlier request with the same key.
    pub replayed: bool,
}

/// A command that was to be cancelled.
#[derive(Debug, Clone)]
pub enum Cancelled {
    /// Nobody waits for it any more. Its message may have arrived.
    Now(Arc<Command>),
    /// It was final before.
    AlreadyFinal(Arc<Command>),
}

/// Why a command or a batch was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// No such device is in service.
    #[error("there is no device {0}")]
    UnknownDevice(DeviceId),
    /// The device has no such socket.
    #[error("{device} has no socket {socket}")]
    UnknownSocket {
        /// The device.
        device: DeviceId,
        /// The socket.
        socket: SocketId,
    },
    /// The device is offline, and the caller did not say to send all the same.
    #[error("{0} is offline")]
    DeviceOffline(DeviceId),
    /// These commands are pending there.
    #[error("a command is pending there")]
    Pending(Vec<Command>),
    /// The device was sent three within the last second.
    #[error(
        "no more than {} commands to a device within a second",
        crate::command::PER_SECOND
    )]
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The key is no key.
    #[error("must be 1 to {KEY_MAX} visible ASCII characters")]
    InvalidKey,
    /// The key was used for another request.
    #[error("this key was used for another request within the last 24 hours")]
    KeyReused,
    /// The batch concerns nobody.
    #[error("there is nobody to send to")]
    NoTargets,
    /// The batch is too large.
    #[error("at most {BATCH_TARGETS_MAX} targets")]
    TooManyTargets,
    /// Two targets of the batch meet.
    #[error("{device} socket {socket} is given twice, or beside the whole strip")]
    TargetTwice {
        /// The device.
        device: DeviceId,
        /// The socket.
        socket: SocketId,
    },
    /// Too many requests or batches wait already.
    #[error("too much is waiting already; try again in a moment")]
    Overloaded,
    /// The server is going down.
    #[error("the server is stopping")]
    Stopping,
    /// What nodes share does not answer, so that nobody can tell whether it may
    /// be sent; nothing was.
    #[error("the hot state does not answer; nothing was sent")]
    HotState(#[source] Arc<PortError>),
    /// The store failed; nothing was sent.
    #[error("the command could not be written")]
    Port(#[source] Arc<PortError>),
}

impl SendError {
    pub(super) fn hot_state(error: PortError) -> Self {
        Self::HotState(Arc::new(error))
    }
}

impl From<PortError> for SendError {
    fn from(error: PortError) -> Self {
        Self::Port(Arc::new(error))
    }
}

/// Why a command could not be cancelled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CancelError {
    /// No command has this id.
    #[error("there is no command {0}")]
    Unknown(CommandId),
    /// The request could not be heard.
    #[error(transparent)]
    Refused(#[from] SendError),
}
