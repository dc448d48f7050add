//! What waits for the disk, and what was written of late.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use dormouse_core::ports::journal::{Chunk, Receipt};

use super::format::{BLOCK_HEAD, Block};
use super::ring::Ring;

/// A block is closed when it has grown to this, bytes.
pub(super) const BLOCK_FULL: usize = 256 << 10;
/// Durable blocks kept in memory for the drain, bytes; older ones are read
/// from the file again.
pub(super) const RECENT_MAX: usize = 8 << 20;

/// What connection tasks, the writer and the drain share.
pub(super) struct Shared {
    pub(super) ring: Ring,
    pub(super) state: Mutex<State>,
    /// Wakes the writer.
    pub(super) work: Condvar,
}

pub(super) struct State {
    /// Blocks that wait for the disk; the last one is still filling.
    pub(super) pending: VecDeque<Pending>,
    pub(super) pending_bytes: usize,
    /// Everything before it is on disk.
    pub(super) durable: u64,
    /// Everything before it may be overwritten.
    pub(super) released: u64,
    /// Durable blocks from their start on, contiguous up to `durable`.
    pub(super) recent: VecDeque<(u64, Chunk)>,
    pub(super) recent_bytes: usize,
    pub(super) full: bool,
    pub(super) failing: Option<String>,
    pub(super) closed: bool,
    pub(super) commits: u64,
    pub(super) written: u64,
}

/// A block before it is written.
pub(super) struct Pending {
    /// Room for the head, then the records, each behind its length.
    pub(super) bytes: Vec<u8>,
    pub(super) receipts: Vec<Box<dyn Receipt>>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::with_capacity(4096);
        bytes.resize(BLOCK_HEAD, 0);
        Self {
            bytes,
            receipts: Vec::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= BLOCK_FULL
    }

    pub(super) fn has_records(&self) -> bool {
        self.bytes.len() > BLOCK_HEAD
    }

    /// Bytes of records, with their lengths.
    pub(super) fn record_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(BLOCK_HEAD)
    }

    /// Bytes it will take in the ring.
    pub(super) fn size(&self) -> u64 {
        match self.has_records() {
            true => Block::padded(self.bytes.len() as u64),
            false => 0,
        }
    }
}

impl State {
    /// An empty one behind what the file holds.
    pub(super) const fn new(released: u64, durable: u64) -> Self {
        Self {
            pending: VecDeque::new(),
            pending_bytes: 0,
            durable,
            released,
            recent: VecDeque::new(),
            recent_bytes: 0,
            full: false,
            failing: None,
            closed: false,
            commits: 0,
            written: 0,
        }
    }

    /// The block that takes the next record.
    pub(super) fn open_block(&mut self) -> &mut Pending {
        if self.pending.back().is_none_or(Pending::is_full) {
            self.pending.push_back(Pending::new());
        }
        let last = self.pending.len() - 1;
        &mut self.pending[last]
    }
}

impl State {
    /// Blocks in memory from `from` on; none where it is older than those, and
    /// then how far the file has to be read.
    pub(super) fn recent_from(&self, from: u64, max_bytes: usize) -> (Vec<Chunk>, u64) {
        let first = self.recent.partition_point(|(start, _)| *start < from);
        let known = self
            .recent
            .get(first)
            .is_some_and(|(start, _)| *start == from);
        if !known {
            let until = self
                .recent
                .front()
                .map_or(self.durable, |(start, _)| *start);
            return (Vec::new(), until);
        }
        let mut bytes = 0;
        let chunks = self
            .recent
            .range(first..)
            .map(|(_, chunk)| chunk)
            .take_while(|chunk| {
                let fits = bytes < max_bytes;
                bytes += chunk.bytes.len();
                fits
            })
            .cloned()
            .collect();
        (chunks, self.durable)
    }

    pub(super) fn forget_oldest(&mut self) {
        if let Some((_, chunk)) = self.recent.pop_front() {
            self.recent_bytes -= chunk.bytes.len();
        }
    }
}
