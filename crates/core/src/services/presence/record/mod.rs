//! What nodes tell each other of devices' presence, in the one order of the
//! log that all of them read.

mod packing;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{DeviceKey, EventId};
use crate::ports::nodes::{Fence, NodeId};
use crate::presence::{Life, PresenceReason, PresenceState, SessionEnd, SessionNo};

pub use packing::{decode, encode};

/// One thing that a node tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Signs of life, as of these moments.
    Alive(Vec<(DeviceKey, Timestamp)>),
    /// Something was heard of one device.
    Heard {
        /// Of which.
        device: DeviceKey,
        /// When it was received.
        at: Timestamp,
        /// What.
        news: News,
    },
    /// The leader found that a device has been silent for too long.
    Silent {
        /// Which.
        device: DeviceKey,
        /// When.
        at: Timestamp,
        /// The last sign of life that the leader knew of: a later one in the
        /// log makes this void.
        since: Timestamp,
        /// The leader's fence.
        fence: Fence,
    },
    /// The leader has kept this change, and every one before it.
    Kept {
        /// Of which device.
        device: DeviceKey,
        /// When it changed.
        at: Timestamp,
        /// What it came to be.
        state: PresenceState,
        /// Why.
        reason: PresenceReason,
        /// The event that keeps it.
        event: EventId,
        /// The leader's fence.
        fence: Fence,
    },
    /// The way from the broker to a node broke, or is whole again: what it
    /// has not taken in yet waits with the broker.
    Link {
        /// Which node's.
        node: NodeId,
        /// Whether it is whole.
        whole: bool,
    },
}

/// What is told of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// An online status.
    Status {
        /// Its counts, if it tells.
        life: Option<Life>,
        /// How often it means to report, if it tells.
        period: Option<Duration>,
    },
    /// A status that says offline.
    Goodbye {
        /// The counts in it.
        life: Option<Life>,
        /// Whether the broker published it as a will.
        by_broker: bool,
    },
    /// The broker began a session.
    SessionStarted(SessionNo),
    /// A session ended.
    SessionEnded(SessionNo, SessionEnd),
}
