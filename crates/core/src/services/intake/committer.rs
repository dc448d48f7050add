//! The way straight into the database: messages wait in a bounded queue, are
//! judged under their devices' locks against what any node knows, and are
//! acknowledged after the commit.
//!
//! One batch is under way at a time, and the next one begins when the last one
//! has ended, with whatever has gathered meanwhile. While the database does
//! not answer, messages go to the journal, are acknowledged from there, and
//! are replayed in order before the direct way opens again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::doubt::Doubt;
use super::lane::{Batch, Lane, Mode};
use super::memory::Memory;
use crate::directory::Directory;
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::hot::HotState;
use crate::ports::intake::IntakeStore;
use crate::ports::journal::{Journal, JournalReader};
use crate::record::Entry;
use crate::services::ingest::{Downstream, Inbox, Reception, bump};

/// What a [`Committer`] works with.
pub struct CommitterParts {
    /// Where messages are kept.
    pub store: Arc<dyn IntakeStore>,
    /// Where they are kept while the store does not answer.
    pub journal: Arc<dyn Journal>,
    /// The same journal's reading side, for the committer alone.
    pub reader: Arc<dyn JournalReader>,
    /// Who the devices are.
    pub directory: Arc<dyn Directory>,
    /// What was measured last.
    pub hot: Arc<dyn HotState>,
    /// Who is told at once.
    pub downstream: Arc<dyn Downstream>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Messages that are kept now.
    pub messages: usize,
    /// Samples among them.
    pub samples: usize,
    /// Entries of the journal that could not be read, such as those of a
    /// newer version.
    pub unreadable: usize,
    /// Whether they came from the journal.
    pub replayed: bool,
}

/// How the way in is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitFigures {
    /// Whether messages go straight to the store, and not to the journal.
    pub direct: bool,
    /// Messages that wait in memory.
    pub waiting: usize,
    /// Batches kept since the start.
    pub batches: u64,
    /// Messages that went to the journal since the start.
    pub journalled: u64,
    /// Messages of the journal that are in the store since the start.
    pub replayed: u64,
    /// Whether the journal is full: messages wait for room in it, in memory,
    /// without an acknowledgement.
    pub journal_full: bool,
}

/// The way into a database that several nodes share.
///
/// Its keeper calls [`step`](Self::step) whenever [`ready`](Self::ready)
/// returns, and [`spill`](Self::spill) where a step failed or took too long.
pub struct Committer {
    pub(super) reception: Reception<Memory>,
    pub(super) lane: Arc<Lane>,
    pub(super) store: Arc<dyn IntakeStore>,
    pub(super) reader: Arc<dyn JournalReader>,
    pub(super) directory: Arc<dyn Directory>,
    flight: tokio::sync::Mutex<Flight>,
    /// How far the journal was replayed.
    pub(super) position: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) replayed: AtomicU64,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Flight {
    /// The batch; waits for another attempt after a failed one.
    pub(super) batch: Batch,
    /// What was last written without an answer.
    pub(super) doubt: Option<Doubt>,
    /// Whether the store was asked how far it has the journal.
    pub(super) is_located: bool,
    /// Entries at the head of what is left of the journal that are kept.
    pub(super) skip: usize,
    /// Entries that this process appended and the store has.
    pub(super) own_replayed: u64,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CommitterParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitterParts").finish_non_exhaustive()
    }
}

impl Committer {
    /// A committer that replays first what an earlier process left in the journal.
    #[must_use]
    pub fn new(parts: CommitterParts) -> Self {
        let (start, end) = (parts.reader.start(), parts.reader.replay_end());
        let mode = if start < end {
            Mode::Journal
        } else {
            Mode::Direct
        };
        Self {
            reception: Reception::new(parts.hot, parts.downstream),
            lane: Arc::new(Lane::new(parts.journal, mode)),
            store: parts.store,
            reader: parts.reader,
            directory: parts.directory,
            flight: tokio::sync::Mutex::default(),
            position: AtomicU64::new(start),
            batches: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn figures(&self) -> CommitFigures {
        let backlog = self.lane.backlog();
        CommitFigures {
            direct: backlog.mode == Mode::Direct,
            waiting: backlog.messages,
            batches: self.batches.load(Ordering::Relaxed),
            journalled: backlog.journalled,
            replayed: self.replayed.load(Ordering::Relaxed),
            journal_full: backlog.journal_full,
        }
    }

    /// Waits until there may be something to do.
    pub async fn ready(&self) {
        let (in_flight, own_replayed) = {
            let flight = self.flight.lock().await;
            (!flight.batch.entries.is_empty(), flight.own_replayed)
        };
        let backlog = self.lane.backlog();
        match backlog.mode {
            Mode::Direct if in_flight => {}
            Mode::Direct => self.lane.filled().await,
            // An earlier process's entries, or the direct way to open.
            Mode::Journal if backlog.journalled == own_replayed => {}
            Mode::Journal => {
                let position = self.position.load(Ordering::Relaxed);
                self.reader.readable(position).await;
            }
        }
    }

    /// Keeps one batch. After an error, or where its caller stopped waiting,
    /// calling it again is right.
    ///
    /// # Errors
    /// When the store or the journal does not answer.
    pub async fn step(&self) -> Result<Step, PortError> {
        let mut flight = self.flight.lock().await;
        match self.lane.backlog().mode {
            Mode::Direct => self.commit_waiting(&mut flight).await,
            Mode::Journal => self.replay(&mut flight).await,
        }
    }

    /// Sends what waits, and what comes, to the journal until [`Self::step`]
    /// has brought all of it into the store.
    pub async fn spill(&self) {
        let mut flight = self.flight.lock().await;
        if self.lane.backlog().mode == Mode::Journal {
            return;
        }
        let batch = std::mem::take(&mut flight.batch);
        self.let_go(&batch.entries);
        let taken = self.lane.spill(batch);
        if let Some(doubt) = &mut flight.doubt {
            doubt.entries = taken;
        }
    }

    async fn commit_waiting(&self, flight: &mut Flight) -> Result<Step, PortError> {
        if self.was_kept(flight).await?.is_some() {
            return Ok(self.acknowledge(flight, 0));
        }
        if flight.batch.entries.is_empty() {
            self.lane.take(&mut flight.batch);
        }
        if flight.batch.entries.is_empty() {
            return Ok(Step::default());
        }
        let samples = self
            .keep(&flight.batch.entries, None, 0, &mut flight.doubt)
            .await?;
        Ok(self.acknowledge(flight, samples))
    }

    /// The batch is kept.
    fn acknowledge(&self, flight: &mut Flight, samples: usize) -> Step {
        bump(&self.batches, 1);
        let batch = &mut flight.batch;
        self.let_go(&batch.entries);
        let messages = batch.entries.len();
        batch.entries.clear();
        for receipt in batch.answers.drain(..).flatten() {
            receipt.done();
        }
        Step {
            messages,
            samples,
            ..Step::default()
        }
    }

    /// `entries` wait in memory no longer.
    fn let_go(&self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| matters(entry)) {
            self.with(entry.device(), Memory::waited);
        }
    }

    pub(super) fn with<T>(&self, device: DeviceKey, act: impl FnOnce(&mut Memory) -> T) -> T {
        act(&mut self.reception.shard(device).seat(device).memory)
    }
}

/// Whether the device's inbox has a say in it, or remembers it.
pub(super) fn matters(entry: &Entry) -> bool {
    match entry {
        Entry::Readings(_) => true,
        Entry::Record(record) => Inbox::matters(record),
    }
}
