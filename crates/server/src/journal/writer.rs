//! The journal's one writer: gathers, writes, syncs, answers.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dormouse_core::ports::journal::Chunk;
use tokio::sync::watch;

use super::format::{BLOCK_HEAD, Block, Mark};
use super::state::{Pending, RECENT_MAX, Shared, State};

/// How long to wait before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Writer {
    shared: Arc<Shared>,
    mark: Mark,
    /// Where the next block goes.
    end: u64,
    durable: watch::Sender<u64>,
}

/// What goes to the disk together.
#[derive(Default)]
struct Commit {
    gathered: Vec<Pending>,
    released: u64,
}

/// A block with its head filled in.
struct Sealed {
    offset: u64,
    /// Head, payload and padding.
    bytes: Bytes,
    chunk: Chunk,
}

impl Writer {
    pub(super) const fn new(
        shared: Arc<Shared>,
        mark: Mark,
        end: u64,
        durable: watch::Sender<u64>,
    ) -> Self {
        Self {
            shared,
            mark,
            end,
            durable,
        }
    }

    /// Commits until the journal is closed and everything is written.
    pub(super) fn run(mut self) {
        while let Some(commit) = self.gather() {
            let records = commit.gathered.iter().map(Pending::record_bytes).sum();
            let mut receipts = Vec::new();
            let mut blocks = Vec::with_capacity(commit.gathered.len());
            let start = self.end;
            for mut pending in commit.gathered {
                receipts.append(&mut pending.receipts);
                if pending.has_records() {
                    blocks.push(self.seal(pending.bytes, start));
                }
            }
            if !self.write_until_durable(&blocks, commit.released) {
                return;
            }
            self.publish(blocks, records);
            for receipt in receipts {
                receipt.done();
            }
        }
    }

    /// Waits for work and takes as many blocks as there is room for; `None`
    /// when there is nothing left to do.
    fn gather(&self) -> Option<Commit> {
        let mut state = self.shared.state();
        loop {
            let commit = self.take(&mut state);
            if !commit.gathered.is_empty() {
                return Some(commit);
            }
            if state.closed {
                // What waits for room can wait no longer; unanswered, its
                // senders will send it again.
                state.pending.clear();
                return None;
            }
            state = self
                .shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&self, state: &mut State) -> Commit {
        let mut commit = Commit {
            gathered: Vec::new(),
            released: state.released,
        };
        let mut room = state.released + self.shared.ring.head.capacity - self.end;
        while let Some(block) = state.pending.pop_front() {
            match room.checked_sub(block.size()) {
                Some(left) => {
                    room = left;
                    commit.gathered.push(block);
                }
                None => {
                    state.pending.push_front(block);
                    break;
                }
            }
        }
        state.full = commit.gathered.is_empty() && !state.pending.is_empty();
        commit
    }

    /// Gives a block its place; `start` is where its commit begins.
    fn seal(&mut self, mut bytes: Vec<u8>, start: u64) -> Sealed {
        let payload = BLOCK_HEAD..bytes.len();
        let offset = self.end;
        let into_commit = u32::try_from(offset - start).unwrap_or(u32::MAX);
        let identity = self.shared.ring.head.identity;
        Block::seal(&mut bytes, identity, self.mark.epoch, offset, into_commit);
        self.end += bytes.len() as u64;
        let bytes = Bytes::from(bytes);
        let chunk = Chunk {
            end: self.end,
            bytes: bytes.slice(payload),
        };
        Sealed {
            offset,
            bytes,
            chunk,
        }
    }

    /// Tries again until the disk takes it; `false` when the journal is closed
    /// meanwhile. After a failed sync everything is written again, since what
    /// the kernel still holds is anyone's guess.
    fn write_until_durable(&mut self, blocks: &[Sealed], released: u64) -> bool {
        while let Err(error) = self.write(blocks, released) {
            let mut state = self.shared.state();
            state.failing = Some(error.to_string());
            state.full = true;
            if state.closed {
                return false;
            }
            let waited = self.shared.work.wait_timeout(state, RETRY);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
        true
    }

    fn write(&mut self, blocks: &[Sealed], released: u64) -> io::Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        let ring = &self.shared.ring;
        for block in blocks {
            ring.write(&block.bytes, block.offset)?;
        }
        if released != self.mark.released {
            let mark = Mark {
                count: self.mark.count + 1,
                released,
                ..self.mark
            };
            ring.write_mark(mark)?;
            self.mark = mark;
        }
        ring.storage.sync()
    }

    /// Shows what became durable to readers.
    fn publish(&self, blocks: Vec<Sealed>, records: usize) {
        let mut state = self.shared.state();
        state.pending_bytes -= records;
        state.failing = None;
        if blocks.is_empty() {
            return;
        }
        state.commits += 1;
        for block in blocks {
            state.written += block.bytes.len() as u64;
            state.recent_bytes += block.chunk.bytes.len();
            state.recent.push_back((block.offset, block.chunk));
        }
        while state.recent_bytes > RECENT_MAX && state.recent.len() > 1 {
            state.forget_oldest();
        }
        state.durable = self.end;
        drop(state);
        self.durable.send_replace(self.end);
    }
}
