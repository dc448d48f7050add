//! One command to one socket: what was ordered, by whom, and how it went.

mod batch;
mod deadlines;
mod evidence;
mod order;
mod progress;
mod rate;

pub use batch::{BATCH_TARGETS_MAX, Batch, BatchReport, ItemResult, Refusal, Target};
pub use deadlines::Deadlines;
pub use evidence::{SocketReport, shows_success};
pub use order::{
    CYCLE_MARGIN_MS, DEFAULT_OFF_MS, DEFAULT_TIMEOUT_MS, InvalidOrder, OFF_MS, Order, TIMEOUT_MS,
};
pub use progress::{
    Cancellation, Evidence, Failure, Input, Late, Progress, State, StateName, Step,
};
pub use rate::{PER_SECOND, Rates};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::event::Origin;
use crate::ids::{BatchId, CommandId, DeviceId, DeviceKey, SocketId};
use crate::wire::CommandBody;

/// What happens to a command that is pending where another one is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnPending {
    /// It stays, and the new one is refused.
    #[default]
    Refuse,
    /// It is cancelled, in one step with the birth of the new one.
    Replace,
}

/// One command and how it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which command.
    pub id: CommandId,
    /// For whom.
    pub device: DeviceKey,
    /// The device's public name.
    pub device_id: DeviceId,
    /// Which socket; 0 for all of them.
    pub socket: SocketId,
    /// What to do, and for how long to wait for the verdict.
    pub order: Order,
    /// Who sent it.
    pub origin: Origin,
    /// The batch it belongs to, if one.
    pub batch: Option<BatchItem>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is given up, by the wall clock as of its writing; what a
    /// restart goes by.
    pub deadline_at: Timestamp,
    /// How far it got.
    pub progress: Progress,
}

/// A command's place in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchItem {
    /// Which batch.
    pub batch: BatchId,
    /// Which of its items, from 0.
    pub item: u32,
}

impl Command {
    /// Whether a command for `socket` of the same device would meet this one:
    /// the whole strip meets every socket.
    #[must_use]
    pub fn claims(&self, socket: SocketId) -> bool {
        self.socket.is_strip() || socket.is_strip() || self.socket == socket
    }

    /// Whether it waits for its verdict.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.progress.state == State::Pending
    }

    /// How long after receipt it may still be obeyed, so that its verdict can
    /// be back in time.
    #[must_use]
    pub fn time_to_live(&self) -> Duration {
        let off_ms = self.order.off_ms.unwrap_or(0);
        Duration::from_millis(u64::from(self.order.timeout_ms.saturating_sub(off_ms)))
    }

    /// What the device is sent at `now`.
    #[must_use]
    pub fn body(&self, now: Timestamp) -> CommandBody {
        let ttl = self.time_to_live();
        CommandBody {
            cmd_id: self.id,
            device_id: self.device_id.clone(),
            socket_id: self.socket,
            action: self.order.action,
            off_ms: self.order.off_ms,
            ttl_ms: u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX),
            expires_at: (now + ttl).as_millis(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Action;

    #[test]
    fn the_longest_command_fits_a_client_buffer_of_256_bytes() {
        let command = Command {
            id: CommandId(uuid::Uuid::max()),
            device: DeviceKey(u32::MAX),
            device_id: DeviceId::parse(&"x".repeat(32)).unwrap(),
            socket: SocketId::parse(32).unwrap(),
            order: Order::new(Action::Cycle, Some(50_000), Some(60_000)).unwrap(),
            origin: Origin::Server,
            batch: None,
            created_at: Timestamp::from_millis(0),
            deadline_at: Timestamp::from_millis(0),
            progress: Progress::default(),
        };
        let body = serde_json::to_vec(&command.body(Timestamp::from_millis(1_767_323_045_123)));
        // Fixed header, topic `dorm/{32}/cmd` with its length, packet id.
        let envelope = 3 + 2 + "dorm//cmd".len() + 32 + 2;
        assert!(body.unwrap().len() + envelope <= 256);
    }

    #[test]
    fn a_cycle_must_begin_early_enough_to_end_in_time() {
        let order = Order::new(Action::Cycle, Some(3_000), None).unwrap();
        let mut command = crate::contract::commands::sample(1, 1);
        command.order = order;
        assert_eq!(command.time_to_live(), Duration::from_secs(3));
        let body = command.body(Timestamp::from_millis(1_000));
        assert_eq!((body.ttl_ms, body.expires_at), (3_000, 4_000));
    }
}
