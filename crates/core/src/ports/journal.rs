//! The append-only file in front of the databases: what was appended and
//! fsynced is acknowledged, and stays readable until it is released.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::ids::DeviceKey;

/// Answers the sender of one message; resolved exactly once, from any thread,
/// and cheap, since thousands are resolved after one fsync. Dropping one
/// unresolved counts as [`Receipt::failed`].
pub trait Receipt: Send + 'static {
    /// The message is durable: acknowledge it.
    fn done(self: Box<Self>);

    /// The message is no good and will never be: acknowledge it, with `reason`
    /// where the protocol has room for one.
    fn refuse(self: Box<Self>, reason: &'static str);

    /// The message could not be kept: withhold the acknowledgement.
    fn failed(self: Box<Self>);
}

/// A place in one journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPosition {
    /// Which journal; drawn when its file is made.
    pub journal: u64,
    /// Bytes ever appended before this place.
    pub offset: u64,
}

/// How far the drain has come, with what it must remember to recognise
/// repeats after a restart.
///
/// The history store writes it in the same transaction as the samples, and
/// that commit must be durable (fsynced): the journal overwrites what lies
/// before [`Progress::position`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Everything before it is in the databases.
    pub position: JournalPosition,
    /// The inboxes that changed since the last progress, as opaque bytes; a
    /// store keeps the newest of each device.
    pub inboxes: Vec<(DeviceKey, Box<[u8]>)>,
}

/// Why the journal did not take a record; nothing was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The journal is full, since the databases do not take what it holds.
    #[error("journal full")]
    Full,
    /// The server is stopping.
    #[error("journal closed")]
    Closed,
}

/// Whether a record is worth memory while the file is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Its sender waits for an acknowledgement and keeps the message until then.
    Acknowledged,
    /// Nobody waits for it (QoS 0): dropped at once while the file is full.
    Droppable,
}

/// The writing side. Called from connection tasks: never blocks on the disk.
pub trait Journal: Debug + Send + Sync + 'static {
    /// Appends `record`, which is handed back as it is; atomic. `receipt` is
    /// resolved once it is durable; on error it is the caller's to answer.
    ///
    /// # Errors
    /// When there is no room or the journal is closed.
    fn append(
        &self,
        record: &[u8],
        importance: Importance,
        receipt: Option<Box<dyn Receipt>>,
    ) -> Result<(), (AppendError, Option<Box<dyn Receipt>>)>;

    /// Resolves `receipt` once everything appended so far is durable; for a
    /// repeat of a message whose first copy may not be so yet.
    fn barrier(&self, receipt: Box<dyn Receipt>);
}

/// A run of records, as appended.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Where the chunk after this one starts.
    pub end: u64,
    /// The records, each behind its length; see [`Chunk::records`].
    pub bytes: Bytes,
}

impl Chunk {
    /// The records in the order of their appending.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk::<4>()?;
            let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
            let (record, tail) = tail.split_at_checked(len)?;
            rest = tail;
            Some(record)
        })
    }
}

/// The reading side, for the drain alone.
#[async_trait]
pub trait JournalReader: Debug + Send + Sync + 'static {
    /// The journal's identity.
    fn id(&self) -> u64;

    /// Where reading starts: what lies before is in the databases.
    fn start(&self) -> u64;

    /// Where the records of earlier processes end; those before it are replayed.
    fn replay_end(&self) -> u64;

    /// Waits until a record at or after `from` is durable.
    async fn readable(&self, from: u64);

    /// Durable chunks from `from` on, at most about `max_bytes`; empty where
    /// there are none yet.
    ///
    /// # Errors
    /// When the file cannot be read.
    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, PortError>;

    /// Lets the journal overwrite everything before `up_to`.
    fn release(&self, up_to: u64);
}
