//! Blocks in the ring: reading them back, and finding where they end.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dormouse_core::ports::journal::Chunk;

use super::format::{BLOCK_HEAD, Block, Head, Mark, RING_AT, SECTOR};
use super::storage::Storage;

/// How far behind a broken block a later one is looked for: more than the
/// largest block.
const SALVAGE_REACH: u64 = 1 << 20;

/// The ring of blocks on its storage.
#[derive(Clone)]
pub(super) struct Ring {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) head: Head,
}

/// What an opening found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Where the first unreleased block starts.
    pub(super) start: u64,
    /// Where the last one ends.
    pub(super) end: u64,
    /// Stretches between them that cannot be read: what was there is lost.
    pub(super) gaps: Vec<(u64, u64)>,
}

impl Ring {
    /// Writes `bytes` at byte `offset` of the journal.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (at, room) = self.place(offset);
        let first = bytes.len().min(room);
        self.storage.write_at(&bytes[..first], at)?;
        if first < bytes.len() {
            self.storage.write_at(&bytes[first..], RING_AT)?;
        }
        Ok(())
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (at, room) = self.place(offset);
        let first = buffer.len().min(room);
        let (head, tail) = buffer.split_at_mut(first);
        self.storage.read_at(head, at)?;
        if !tail.is_empty() {
            self.storage.read_at(tail, RING_AT)?;
        }
        Ok(())
    }

    /// Where byte `offset` is in the file, and how far it is to the ring's end.
    fn place(&self, offset: u64) -> (u64, usize) {
        let into = offset % self.head.capacity;
        let room = usize::try_from(self.head.capacity - into).unwrap_or(usize::MAX);
        (RING_AT + into, room)
    }

    pub(super) fn write_mark(&self, mark: Mark) -> io::Result<()> {
        self.storage
            .write_at(&mark.encode(self.head.identity), mark.place())
    }

    /// The newest mark that is whole.
    pub(super) fn read_mark(&self) -> io::Result<Mark> {
        let mut newest = Mark::default();
        for place in Mark::places() {
            let mut bytes = [0; Mark::LEN];
            self.storage.read_at(&mut bytes, place)?;
            if let Some(mark) = Mark::decode(self.head.identity, &bytes)
                && mark.count > newest.count
            {
                newest = mark;
            }
        }
        Ok(newest)
    }

    /// The block that starts at `offset`, if a whole one does.
    pub(super) fn block(&self, offset: u64) -> io::Result<Option<(Block, Chunk)>> {
        let mut head = [0; BLOCK_HEAD];
        self.read(&mut head, offset)?;
        let Some(block) = Block::decode(&head).filter(|block| block.offset == offset) else {
            return Ok(None);
        };
        if block.size() > self.head.capacity {
            return Ok(None);
        }
        let mut payload = vec![0; block.len as usize];
        self.read(&mut payload, offset + BLOCK_HEAD as u64)?;
        if !block.is_sound(self.head.identity, &head, &payload) {
            return Ok(None);
        }
        let chunk = Chunk {
            end: offset + block.size(),
            bytes: Bytes::from(payload),
        };
        Ok(Some((block, chunk)))
    }

    /// The block that starts at `offset`, if one of `epoch` or later does.
    fn block_since(&self, offset: u64, epoch: u32) -> io::Result<Option<(Block, Chunk)>> {
        let block = self.block(offset)?;
        Ok(block.filter(|(block, _)| block.epoch >= epoch))
    }

    /// Follows the blocks from `start` to the last one.
    ///
    /// Commits are written one after the other, so a crash leaves at most one
    /// torn commit, the last, which nobody was told of. A broken block with a
    /// later commit behind it is damage: it is stepped over, for what comes
    /// after it was acknowledged.
    pub(super) fn follow(&self, start: u64) -> io::Result<Found> {
        let mut found = Found {
            start,
            end: start,
            gaps: Vec::new(),
        };
        let mut epoch = 0;
        let limit = start + self.head.capacity;
        while found.end < limit {
            let next = match self.block_since(found.end, epoch)? {
                Some((block, chunk)) => Some((block.epoch, chunk.end)),
                None => match self.salvage(found.end, epoch, limit)? {
                    // A server at work may have written it and more meanwhile:
                    // it was the end when it was looked at.
                    Some(_) if self.block_since(found.end, epoch)?.is_some() => None,
                    Some(later) => {
                        found.gaps.push((found.end, later.offset));
                        Some((later.epoch, later.offset + later.size()))
                    }
                    None => None,
                },
            };
            let Some((block_epoch, end)) = next else {
                break;
            };
            epoch = block_epoch;
            found.end = end;
        }
        Ok(found)
    }

    /// The first whole block behind the broken one at `broken` that belongs to
    /// a later commit.
    fn salvage(&self, broken: u64, epoch: u32, limit: u64) -> io::Result<Option<Block>> {
        let mut at = broken + SECTOR;
        let reach = limit.min(broken + SALVAGE_REACH);
        while at < reach {
            if let Some((block, _)) = self.block(at)?
                && block.epoch >= epoch
                && block.offset.saturating_sub(block.into_commit.into()) > broken
            {
                return Ok(Some(block));
            }
            at += SECTOR;
        }
        Ok(None)
    }

    /// Reads the blocks of `range`, stepping over gaps, at most about
    /// `max_bytes` of them.
    pub(super) fn read_back(
        &self,
        gaps: &[(u64, u64)],
        range: Range<u64>,
        max_bytes: usize,
    ) -> io::Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        let (mut at, mut bytes) = (range.start, 0);
        while at < range.end && bytes < max_bytes {
            let Some((_, chunk)) = self.block(at)? else {
                let damage = format!("the block at {at} cannot be read any more");
                return Err(io::Error::new(io::ErrorKind::InvalidData, damage));
            };
            bytes += chunk.bytes.len();
            at = past_gap(gaps, chunk.end);
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

/// Steps over a stretch that cannot be read.
pub(super) fn past_gap(gaps: &[(u64, u64)], at: u64) -> u64 {
    let gap = gaps.iter().find(|(start, _)| *start == at);
    gap.map_or(at, |(_, end)| *end)
}
