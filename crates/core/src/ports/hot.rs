//! What is kept hot: the ring of recent samples and the latest of each socket.

use std::fmt::Debug;

use async_trait::async_trait;

use super::PortError;
use crate::clock::Timestamp;
use crate::ids::{DeviceKey, SocketId};
use crate::sample::{Sample, Values};

/// How far back the ring reaches.
pub const RING_MS: i64 = 2 * 60 * 60 * 1000;

/// One reading of a device's totals, from the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSample {
    /// When it was measured.
    pub ts: Timestamp,
    /// What was measured.
    pub values: Values,
}

/// The newest reading of one socket, or of the strip (socket 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// Which socket.
    pub socket: SocketId,
    /// When it was measured.
    pub ts: Timestamp,
    /// What was measured.
    pub values: Values,
}

/// A stretch of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    /// The totals, oldest first.
    pub samples: Vec<RingSample>,
    /// Samples before this moment were thinned to one in 30 s to stay within
    /// the memory budget; `None` where none were.
    pub thinned_before: Option<Timestamp>,
}

/// Keeps recent samples.
///
/// A sample whose (socket, ts) is there already changes nothing; a late one
/// lands in its place. Samples of one moment come in one [`HotState::put`]:
/// where a strip meters its sockets alone, its total is their power together.
#[async_trait]
pub trait HotState: Debug + Send + Sync + 'static {
    /// Takes new samples of one device. Never blocks; an engine behind a
    /// network buffers.
    fn put(&self, device: DeviceKey, samples: &[Sample]);

    /// For each of `devices`, in their order: the newest reading of each
    /// socket, in order of the sockets' numbers.
    ///
    /// # Errors
    /// When the engine does not answer.
    async fn latest(&self, devices: &[DeviceKey]) -> Result<Vec<Vec<Latest>>, PortError>;

    /// The totals from `from` (included) to `to` (not), oldest first.
    ///
    /// # Errors
    /// When the engine does not answer.
    async fn recent(
        &self,
        device: DeviceKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Recent, PortError>;

    /// Forgets a device.
    fn forget(&self, device: DeviceKey);

    /// Frees what is older than the ring's reach at `now`.
    fn sweep(&self, now: Timestamp);

    /// How often it was found empty since it was opened, as an engine is that
    /// restarts without its data: what history knows must be put again.
    fn emptied(&self) -> u64 {
        0
    }
}
