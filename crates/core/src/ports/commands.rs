//! Where commands are kept, and how they leave.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::PortError;
use super::nodes::NodeId;
use crate::clock::Timestamp;
use crate::command::{Batch, BatchItem, BatchReport, Command, Late, OnPending, Progress, Refusal};
use crate::ids::{BatchId, CommandId, DeviceKey};
use crate::wire::CommandBody;

/// Keeps commands, batches and idempotency keys.
///
/// Written means: it survives `kill -9` at once and a power cut soon after.
#[async_trait]
pub trait CommandStore: Send + Sync + 'static {
    /// Does `writes` in order, in one transaction: all of them or, on an
    /// error, none. Answers each in the same order.
    async fn commit(&self, writes: Vec<CommandWrite>) -> Result<Vec<CommandWritten>, PortError>;

    /// Those of `ids` that exist, in any order.
    async fn get(&self, ids: &[CommandId]) -> Result<Vec<Command>, PortError>;

    /// Every pending command.
    async fn pending(&self) -> Result<Vec<Command>, PortError>;

    /// The pending commands of `devices`. Asked with every turn of reports
    /// that other nodes' commands may be proved by: must not scan.
    async fn pending_of(&self, devices: &[DeviceKey]) -> Result<Vec<Command>, PortError>;

    /// A device's commands, newest first, from below `before` where that is
    /// given, at most `limit`.
    async fn of_device(
        &self,
        device: DeviceKey,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>, PortError>;

    /// What `caller` made with `key` at or after `since`.
    async fn remembered(
        &self,
        caller: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Remembered>, PortError>;

    /// A batch and how it went.
    async fn batch(&self, id: BatchId) -> Result<Option<BatchReport>, PortError>;

    /// The nodes whose batches have items that wait, each once.
    async fn nodes_with_waiting_items(&self) -> Result<Vec<NodeId>, PortError>;

    /// Refuses every item that still waits in a batch of one of `nodes`, as
    /// [`Refusal::Interrupted`]; returns how many.
    async fn interrupt_batches(&self, nodes: &[NodeId]) -> Result<usize, PortError>;

    /// Forgets final commands and batches made before `commands_before` and
    /// keys used before `keys_before`, at most `limit` of each; returns how
    /// many of all three.
    async fn purge(
        &self,
        commands_before: Timestamp,
        keys_before: Timestamp,
        limit: u32,
    ) -> Result<usize, PortError>;
}

/// One change to a [`CommandStore`].
#[derive(Debug, Clone)]
pub enum CommandWrite {
    /// Adds a pending command, unless its key was used or a pending one is met
    /// (see [`Command::claims`]); with [`OnPending::Replace`] those are
    /// cancelled instead. Also answers its batch item.
    Insert {
        /// The command.
        command: Arc<Command>,
        /// What to do about pending ones.
        on_pending: OnPending,
        /// Under which key to remember it.
        key: Option<IdempotencyKey>,
    },
    /// Moves a command to a final state, unless it is final already.
    Settle {
        /// Which command.
        id: CommandId,
        /// Its final progress.
        progress: Progress,
    },
    /// Records a late verdict on a final command, unless it has one.
    NoteLate {
        /// Which command.
        id: CommandId,
        /// The verdict.
        late: Late,
    },
    /// Adds a batch whose items all wait, unless its key was used.
    CreateBatch {
        /// The batch.
        batch: Arc<Batch>,
        /// Under which key to remember it.
        key: Option<IdempotencyKey>,
    },
    /// Answers a batch item that waits.
    RefuseItem {
        /// Which item.
        item: BatchItem,
        /// Why it was sent nothing.
        refusal: Refusal,
    },
}

/// What a [`CommandWrite`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandWritten {
    /// It was done.
    Done,
    /// The command was added, and these were cancelled for it, in order of
    /// their sockets.
    Replaced(Vec<Command>),
    /// Nothing was written: these are pending there, in order of their sockets.
    Busy(Vec<Command>),
    /// Nothing was written: the key was used for this.
    Remembered(Remembered),
    /// Nothing was written: the command is final, or its late verdict known;
    /// `None` where there is no such command.
    Unchanged(Option<Box<Command>>),
}

/// A caller's promise that the same key means the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose key.
    pub caller: Arc<str>,
    /// The key.
    pub key: String,
    /// A digest of the request.
    pub fingerprint: [u8; 32],
    /// When it is used.
    pub used_at: Timestamp,
    /// Uses before this moment are forgotten.
    pub since: Timestamp,
}

/// What a key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// A digest of the request.
    pub fingerprint: [u8; 32],
    /// What came of it.
    pub made: Made,
}

/// What a request made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// A command.
    Command(CommandId),
    /// A batch.
    Batch(BatchId),
}

/// Hands commands to the broker.
pub trait CommandSink: Send + Sync + 'static {
    /// Hands `command` over with QoS 1 and never retained; returns at once.
    /// The broker drops what it could not deliver within `ttl`.
    ///
    /// # Errors
    /// When it was not taken: the device will certainly not get it.
    fn publish(&self, command: &OutboundCommand) -> Result<(), NotSent>;
}

/// A command on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundCommand {
    /// For whom.
    pub device: DeviceKey,
    /// What the device is sent.
    pub body: CommandBody,
    /// How long it may still be obeyed; the message expiry.
    pub ttl: Duration,
    /// How long until the server gives up.
    pub timeout: Duration,
}

/// Why a command did not leave, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotSent(pub String);
