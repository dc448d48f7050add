//! The journal as one preallocated file: a ring of checksummed blocks, one
//! writer thread, group commit.
//!
//! Appending copies into a buffer under a short lock. The writer takes what
//! has gathered, writes it, syncs, answers everyone at once, and starts over:
//! the next commit starts when the last one ends, without a timer. See
//! `docs/journal.md` for format and guarantees.

mod drain;
mod format;
mod image;
mod ring;
mod state;
mod storage;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::{io, thread};

use async_trait::async_trait;
use dormouse_core::ports::PortError;
use dormouse_core::ports::journal::{
    AppendError, Chunk, Importance, Journal, JournalPosition, JournalReader, Receipt,
};
use tokio::sync::watch;

pub use drain::drain;
pub use image::{copy_journal, left};
pub use storage::{FileStorage, Storage};

use format::{Head, Mark, RING_AT, SECTOR};
use ring::{Found, Ring, past_gap};
use state::{Shared, State};

/// The ring's size unless configured otherwise, bytes.
pub const CAPACITY_DEFAULT: u64 = 64 << 20;
/// The smallest ring, bytes.
pub const CAPACITY_MIN: u64 = 1 << 20;

/// Records that wait for the disk, bytes. Beyond it nothing is taken: senders
/// that wait for an acknowledgement keep their messages, others' are dropped.
const PENDING_MAX: usize = 8 << 20;
/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read, made or written.
    #[error("journal file")]
    Io(#[from] io::Error),
    /// It is not a journal, or one of another version.
    #[error("not a journal of this version; move it away to start with a new one")]
    Foreign,
}

/// How the journal is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalStats {
    /// The ring's size, bytes.
    pub capacity: u64,
    /// Bytes not yet in the databases.
    pub used: u64,
    /// Whether there is no room: nothing is acknowledged, QoS 0 is dropped.
    pub full: bool,
    /// Why the file could not be written last time; `None` while it can be.
    pub failing: Option<String>,
    /// Commits since the start.
    pub commits: u64,
    /// Bytes written since the start.
    pub written: u64,
    /// Bytes that damage made unreadable, found at the start.
    pub lost: u64,
}

/// The journal. Cheap to share; closed by [`FileJournal::close`].
pub struct FileJournal {
    shared: Arc<Shared>,
    found: Found,
    durable: watch::Receiver<u64>,
    ended: watch::Receiver<bool>,
}

impl std::fmt::Debug for FileJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileJournal")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl FileJournal {
    /// Opens the journal at `path`, or makes one of `capacity` bytes. `saved`
    /// is how far an earlier process brought its records into the databases.
    /// An existing one keeps its size until it is empty.
    ///
    /// # Errors
    /// When the file is unusable.
    pub fn open(
        path: &Path,
        capacity: u64,
        saved: Option<JournalPosition>,
    ) -> Result<Self, OpenError> {
        let capacity = capacity.max(CAPACITY_MIN).next_multiple_of(SECTOR);
        if let Some((storage, len)) = FileStorage::open(path)?
            && len > 0
        {
            let storage: Arc<dyn Storage> = Arc::new(storage);
            let opened = Self::resume(&storage, saved)?;
            let empty = opened.found.start == opened.found.end;
            if opened.shared.ring.head.capacity == capacity || !empty {
                return Ok(opened);
            }
            opened.close();
        }
        let storage = FileStorage::create(path, RING_AT + capacity)?;
        Self::create(Arc::new(storage), capacity)
    }

    /// Starts a new journal on empty `storage` of [`RING_AT`] + `capacity` bytes.
    fn create(storage: Arc<dyn Storage>, capacity: u64) -> Result<Self, OpenError> {
        let head = Head {
            identity: rand::random(),
            capacity,
        };
        storage.write_at(&head.encode(), 0)?;
        let found = Found {
            start: 0,
            end: 0,
            gaps: Vec::new(),
        };
        Self::start(Ring { storage, head }, found, Mark::default())
    }

    /// Takes up the journal on `storage`.
    fn resume(
        storage: &Arc<dyn Storage>,
        saved: Option<JournalPosition>,
    ) -> Result<Self, OpenError> {
        let mut bytes = [0; Head::LEN];
        storage.read_at(&mut bytes, 0)?;
        let head = Head::decode(&bytes).ok_or(OpenError::Foreign)?;
        let ring = Ring {
            storage: Arc::clone(storage),
            head,
        };
        let mark = ring.read_mark()?;
        let saved = saved
            .filter(|saved| saved.journal == head.identity)
            .map(|saved| saved.offset);
        let mut found = ring.follow(saved.unwrap_or(mark.released))?;
        if found.start == found.end && found.end < mark.released {
            // The database is older than the journal, which has been
            // overwritten since: go on from where the journal knows.
            found = ring.follow(mark.released)?;
        }
        Self::start(ring, found, mark)
    }

    fn start(ring: Ring, found: Found, mark: Mark) -> Result<Self, OpenError> {
        let mark = Mark {
            epoch: mark.epoch + 1,
            count: mark.count + 1,
            released: found.start,
        };
        ring.write_mark(mark)?;
        ring.storage.sync()?;
        let (tell_durable, durable) = watch::channel(found.end);
        let (tell_ended, ended) = watch::channel(false);
        let shared = Arc::new(Shared {
            ring,
            state: Mutex::new(State::new(found.start, found.end)),
            work: Condvar::new(),
        });
        let writer = writer::Writer::new(Arc::clone(&shared), mark, found.end, tell_durable);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                // Dropped, and thereby heard, however the thread ends.
                let _ended = tell_ended;
                writer.run();
            })?;
        Ok(Self {
            shared,
            found,
            durable,
            ended,
        })
    }

    /// How it is doing.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let state = self.shared.state();
        JournalStats {
            capacity: self.shared.ring.head.capacity,
            used: state.durable - state.released,
            full: state.full,
            failing: state.failing.clone(),
            commits: state.commits,
            written: state.written,
            lost: self.found.gaps.iter().map(|(from, to)| to - from).sum(),
        }
    }

    /// Takes nothing more, writes what was taken, and lets the writer end.
    pub fn close(&self) {
        self.shared.state().closed = true;
        self.shared.work.notify_one();
    }

    /// Waits until the writer has ended, after [`FileJournal::close`] or by failing.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the sender is gone, which is what is waited for.
        ended.changed().await.ok();
    }
}

impl Journal for FileJournal {
    fn append(
        &self,
        record: &[u8],
        importance: Importance,
        receipt: Option<Box<dyn Receipt>>,
    ) -> Result<(), (AppendError, Option<Box<dyn Receipt>>)> {
        let Ok(len) = u32::try_from(record.len()) else {
            return Err((AppendError::Full, receipt));
        };
        let mut state = self.shared.state();
        if state.closed {
            return Err((AppendError::Closed, receipt));
        }
        let dropped = state.full && importance == Importance::Droppable;
        let bytes = record.len() + size_of_val(&len);
        if dropped || state.pending_bytes + bytes > PENDING_MAX {
            return Err((AppendError::Full, receipt));
        }
        let was_idle = state.pending.is_empty();
        state.pending_bytes += bytes;
        let block = state.open_block();
        block.bytes.extend_from_slice(&len.to_le_bytes());
        block.bytes.extend_from_slice(record);
        block.receipts.extend(receipt);
        drop(state);
        if was_idle {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    fn barrier(&self, receipt: Box<dyn Receipt>) {
        let mut state = self.shared.state();
        if state.closed {
            drop(state);
            return receipt.failed();
        }
        let was_idle = state.pending.is_empty();
        state.open_block().receipts.push(receipt);
        drop(state);
        if was_idle {
            self.shared.work.notify_one();
        }
    }
}

#[async_trait]
impl JournalReader for FileJournal {
    fn id(&self) -> u64 {
        self.shared.ring.head.identity
    }

    fn start(&self) -> u64 {
        self.found.start
    }

    fn replay_end(&self) -> u64 {
        self.found.end
    }

    async fn readable(&self, from: u64) {
        let mut durable = self.durable.clone();
        if durable.wait_for(|durable| *durable > from).await.is_err() {
            // The writer has ended: there will never be more.
            std::future::pending::<()>().await;
        }
    }

    async fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, PortError> {
        let from = past_gap(&self.found.gaps, from);
        let (chunks, until) = {
            let state = self.shared.state();
            state.recent_from(from, max_bytes)
        };
        if !chunks.is_empty() || from >= until {
            return Ok(chunks);
        }
        let ring = self.shared.ring.clone();
        let gaps = self.found.gaps.clone();
        tokio::task::spawn_blocking(move || ring.read_back(&gaps, from..until, max_bytes))
            .await
            .map_err(PortError::unavailable)?
            .map_err(PortError::unavailable)
    }

    fn release(&self, up_to: u64) {
        let mut state = self.shared.state();
        state.released = state.released.max(up_to);
        while state.recent.front().is_some_and(|(_, c)| c.end <= up_to) {
            state.forget_oldest();
        }
        drop(state);
        self.shared.work.notify_one();
    }
}
