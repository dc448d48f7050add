//! How several nodes (processes) on the same engines share one site.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::clock::Timestamp;
use crate::command::Command;
use crate::ids::{CommandId, DeviceKey};

/// One process among several; drawn anew at each start, so that a process
/// never meets leases of its former self. Empty where there is but one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct NodeId(pub Arc<str>);

impl NodeId {
    /// The process `own` of the node that people call `name`.
    #[must_use]
    pub fn of(name: &str, own: &str) -> Self {
        Self(format!("{name}-{own}").into())
    }

    /// What people call the node: the same after a restart.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('-').map_or(&*self.0, |(name, _)| name)
    }

    /// What tells the process from its former selves.
    #[must_use]
    pub fn own(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(_, own)| own)
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Rises with every change of a lease's holder: whoever shows an older one is
/// a former holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(pub i64);

/// A lease as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for, such as `presence` or `slot/3`.
    pub name: String,
    /// Who has it; `None` where it was given back.
    pub holder: Option<NodeId>,
    /// The holder's fence, or that of the last one.
    pub fence: Fence,
    /// How long it still holds, by the store's clock; `None` where nobody has
    /// it any more.
    pub left: Option<Duration>,
    /// How long ago it ended, where its holder did not give it back.
    pub over: Option<Duration>,
    /// What a holder noted last.
    pub note: Option<String>,
}

/// Keeps leases: what must be done by one node at a time. Judged by the
/// store's clock alone.
#[async_trait]
pub trait LeaseStore: Debug + Send + Sync + 'static {
    /// Takes the lease `name` for `ttl`, or keeps it for `ttl` more where
    /// `node` has it; `None` while somebody else has it. Atomic.
    async fn acquire(
        &self,
        name: &str,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Fence>, PortError>;

    /// Notes something for whoever holds the lease next, if `fence` is still
    /// its fence; says whether it was.
    async fn note(&self, name: &str, fence: Fence, note: &str) -> Result<bool, PortError>;

    /// Gives the lease back, if `fence` is still its fence.
    async fn release(&self, name: &str, fence: Fence) -> Result<(), PortError>;

    /// Forgets the lease, if `fence` is still its fence; says whether it was.
    async fn remove(&self, name: &str, fence: Fence) -> Result<bool, PortError>;

    /// Every lease whose name starts with `prefix`, in order of their names.
    async fn list(&self, prefix: &str) -> Result<Vec<Lease>, PortError>;

    /// Now, by the store's clock.
    async fn now(&self) -> Result<Timestamp, PortError>;
}

/// A place in the log that nodes share.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogPosition(pub Arc<str>);

/// What was heard on the [`Exchange`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The next entries of the log, of every node and this one, in the one
    /// order that all nodes see.
    Log(Vec<(LogPosition, Bytes)>),
    /// A hint from another node.
    Hint(Bytes),
    /// Hints were lost, and with `log_lost` entries of the log, too: what is
    /// known of other nodes must be read again.
    Gap {
        /// Whether entries of the log are lost as well.
        log_lost: bool,
    },
}

/// How nodes hear of each other: a short log that all of them read in one
/// order, and hints that may get lost.
#[async_trait]
pub trait Exchange: Debug + Send + Sync + 'static {
    /// Appends `entry` to the log soon. Never blocks; bounded: what finds the
    /// buffer full is dropped, and everybody here hears of a gap.
    fn log(&self, entry: Bytes);

    /// Tells the other nodes `hint` soon. Never blocks; bounded, the oldest is
    /// dropped first.
    fn hint(&self, hint: Bytes);

    /// The next thing heard; begins at the head of the log as of opening. For
    /// one caller at a time.
    async fn next(&self) -> Heard;

    /// At most `limit` entries of the log after `position`; from its beginning
    /// for `None`.
    ///
    /// # Errors
    /// When the engine does not answer.
    async fn read(
        &self,
        position: Option<&LogPosition>,
        limit: usize,
    ) -> Result<Vec<(LogPosition, Bytes)>, PortError>;

    /// Whether the other nodes can be reached now.
    fn connected(&self) -> bool;
}

/// When devices were seen last, for the other nodes and for people who look
/// with the engine's own tools.
#[async_trait]
pub trait LastSeen: Debug + Send + Sync + 'static {
    /// Notes a sign of life. Never blocks; written within 200 ms, the newest
    /// of each device wins.
    fn seen(&self, device: DeviceKey, at: Timestamp);

    /// When each device was seen last, as far as any node noted it.
    ///
    /// # Errors
    /// When the engine does not answer.
    async fn last_seen(&self) -> Result<Vec<(DeviceKey, Timestamp)>, PortError>;
}

/// The index of commands that nodes share beside the database: rates,
/// deadlines, and what people look for with the engine's own tools. Losing it
/// loses no command and no verdict.
#[async_trait]
pub trait CommandIndex: Debug + Send + Sync + 'static {
    /// Takes one command's worth of each device's rate, in order; for a
    /// device over its rate, how long until there is room again. One device
    /// may stand there several times.
    ///
    /// # Errors
    /// When nobody can tell; nothing may be sent then.
    async fn admit(&self, devices: &[DeviceKey]) -> Result<Vec<Result<(), Duration>>, PortError>;

    /// Notes deadlines before the commands are written; those of commands
    /// that are never written are harmless.
    ///
    /// # Errors
    /// When the index does not answer; nothing may be sent then.
    async fn arm(&self, deadlines: &[(CommandId, Timestamp)]) -> Result<(), PortError>;

    /// Takes at most `limit` deadlines that passed before `before` out of the
    /// index, for the caller to settle; each is handed to one caller only.
    ///
    /// # Errors
    /// When the index does not answer.
    async fn claim(&self, before: Timestamp, limit: usize) -> Result<Vec<CommandId>, PortError>;

    /// Shows a command as it is now, after it was written; a final one has no
    /// deadline any more. Never blocks; bounded, the oldest is dropped first.
    fn show(&self, command: &Command);
}
