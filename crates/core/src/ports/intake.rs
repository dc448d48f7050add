//! The way straight into the database, for messages of an external broker:
//! acknowledged after the commit, judged against what any node knows.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::PortError;
use super::journal::JournalPosition;
use crate::device::Reported;
use crate::event::Event;
use crate::ids::DeviceKey;
use crate::sample::DeviceSample;

/// How often a device's inbox was written; 0 where it never was.
pub type InboxVersion = i64;

/// A device's inbox (what is remembered of its messages), as opaque bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInbox {
    /// Whose.
    pub device: DeviceKey,
    /// Which version this is.
    pub version: InboxVersion,
    /// The inbox; empty where there was none yet.
    pub bytes: Box<[u8]>,
}

/// A message that the store refuses for what it is, put aside where people
/// can look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMessage {
    /// Whose.
    pub device: DeviceKey,
    /// The message as a journal keeps it; told from others by this.
    pub entry: Box<[u8]>,
    /// The message as JSON, for people.
    pub shown: String,
    /// Why it was refused.
    pub why: String,
}

/// What one transaction keeps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IntakeBatch {
    /// Samples, sorted by device, socket and time; the first of equal ones
    /// counts. Each device must be held.
    pub samples: Vec<DeviceSample>,
    /// The changed inboxes; each device must be held.
    pub inboxes: Vec<(DeviceKey, Box<[u8]>)>,
    /// Events; one that is there already changes nothing.
    pub events: Vec<Event>,
    /// Reports; one that is not newer than the stored one (by
    /// [`Reported::at`]) changes nothing.
    pub reports: Vec<(DeviceKey, Arc<Reported>)>,
    /// Messages to put aside; one that is aside already is there once. Their
    /// devices need not be held.
    pub refused: Vec<RefusedMessage>,
    /// Entries of messages put aside that are taken up with it; where one is
    /// no longer aside, nothing is kept.
    pub reclaimed: Vec<Box<[u8]>>,
    /// How far this node's journal is taken in with it.
    pub position: Option<JournalPosition>,
}

impl IntakeBatch {
    /// Whether there is nothing in it to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
            && self.inboxes.is_empty()
            && self.events.is_empty()
            && self.reports.is_empty()
            && self.refused.is_empty()
            && self.reclaimed.is_empty()
            && self.position.is_none()
    }
}

/// Begins transactions.
#[async_trait]
pub trait IntakeStore: Debug + Send + Sync + 'static {
    /// Begins a transaction that holds `devices` (sorted, each once) against
    /// every other node until it ends. `known` in each pair is the version
    /// that the caller remembers.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn begin(
        &self,
        devices: &[(DeviceKey, InboxVersion)],
    ) -> Result<Box<dyn IntakeTransaction>, PortError>;

    /// How far `journal` was taken in.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn position(&self, journal: u64) -> Result<Option<JournalPosition>, PortError>;

    /// How many messages are put aside.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn refused(&self) -> Result<u64, PortError>;

    /// Entries of messages put aside that a person wants tried again, oldest
    /// first, at most `limit`.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn wanted_again(&self, limit: usize) -> Result<Vec<Box<[u8]>>, PortError>;
}

/// A transaction that holds devices; dropping it undoes it.
#[async_trait]
pub trait IntakeTransaction: Debug + Send {
    /// The inboxes of those devices whose version is another than the caller
    /// knew. Taken once.
    fn changed(&mut self) -> Vec<StoredInbox>;

    /// Keeps all of `batch`, durably, or nothing of it. A changed inbox's
    /// version is one above the one it had.
    ///
    /// # Errors
    /// When nothing of it was kept, or nobody can tell: doing all again is
    /// right. Where [`PortError::is_of_the_data`], it is refused as it is, and
    /// nothing was kept.
    async fn commit(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError>;

    /// Does all that [`IntakeTransaction::commit`] does, and undoes it.
    ///
    /// # Errors
    /// As for a commit.
    async fn rehearse(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError>;
}
