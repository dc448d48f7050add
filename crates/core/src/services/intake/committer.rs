//! The way straight into the database: messages wait in a bounded queue, are
//! judged under their devices' locks against what any node knows, and are
//! acknowledged after the commit.
//!
//! One batch is under way at a time, and the next one begins when the last one
//! has ended, with whatever has gathered meanwhile. While the database does
//! not answer, messages go to the journal, are acknowledged from there, and
//! are replayed in order before the direct way opens again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::doubt::Doubt;
use super::keep::Besides;
use super::lane::{Batch, Lane, Mode};
use super::memory::Memory;
use super::replay::Stretch;
use super::sift::{RefusalNews, Settled, Sifting};
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
    /// Messages among them that the store refused and that are put aside.
    pub refused: usize,
    /// Whether nothing is kept yet, and more is known of what is refused.
    pub sifting: bool,
    /// Whether they came from the journal.
    pub replayed: bool,
}

impl Step {
    /// More is known of what is refused, and nothing kept yet.
    pub(super) const SIFTING: Self = Self {
        messages: 0,
        samples: 0,
        unreadable: 0,
        refused: 0,
        sifting: true,
        replayed: false,
    };
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
    /// Messages that the store refused and that this node put aside since the
    /// start.
    pub refused: u64,
    /// Messages that are aside, whichever node put them there, as counted last.
    pub aside: u64,
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
    pub(super) flight: tokio::sync::Mutex<Flight>,
    /// How far the journal was replayed.
    pub(super) position: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) aside: AtomicU64,
    news: Mutex<Vec<RefusalNews>>,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Flight {
    /// The batch; waits for another attempt after a failed one.
    pub(super) batch: Batch,
    /// What was last written without an answer.
    pub(super) doubt: Option<Doubt>,
    /// The part of the journal that is under way.
    pub(super) stretch: Option<Stretch>,
    /// What is known of messages that are refused.
    pub(super) sifting: Sifting,
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
            refused: AtomicU64::new(0),
            aside: AtomicU64::new(0),
            news: Mutex::default(),
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
            refused: self.refused.load(Ordering::Relaxed),
            aside: self.aside.load(Ordering::Relaxed),
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
        flight.sifting.sieve = None;
        self.let_go(&batch.entries);
        let taken = self.lane.spill(batch);
        if let Some(doubt) = &mut flight.doubt {
            doubt.entries = taken;
        }
    }

    async fn commit_waiting(&self, flight: &mut Flight) -> Result<Step, PortError> {
        if self.was_kept(flight).await?.is_some() {
            let unknown = Settled {
                samples: 0,
                refused: 0,
            };
            return Ok(self.acknowledge(flight, &unknown));
        }
        if flight.batch.entries.is_empty() {
            self.lane.take(&mut flight.batch);
        }
        if flight.batch.entries.is_empty() {
            return Ok(Step::default());
        }
        let (entries, besides) = (&flight.batch.entries, Besides::default());
        let settled = self
            .settle(&mut flight.sifting, entries, besides, &mut flight.doubt)
            .await?;
        Ok(match settled {
            Some(settled) => self.acknowledge(flight, &settled),
            None => Step::SIFTING,
        })
    }

    /// The batch is kept.
    fn acknowledge(&self, flight: &mut Flight, settled: &Settled) -> Step {
        flight.sifting.sieve = None;
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
            samples: settled.samples,
            refused: settled.refused,
            ..Step::default()
        }
    }

    /// `entries` wait in memory no longer.
    fn let_go(&self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| matters(entry)) {
            self.with(entry.device(), Memory::waited);
        }
    }

    pub(super) fn news(&self) -> MutexGuard<'_, Vec<RefusalNews>> {
        // Nothing panics between two changes, so a poisoned lock holds good data.
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
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
