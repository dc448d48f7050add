//! From the journal into the store, once the store answers again.

use std::sync::atomic::Ordering;

use super::committer::{Committer, Flight, Step};
use crate::ports::PortError;
use crate::ports::journal::{Chunk, JournalPosition};
use crate::record::{Entry, Record};
use crate::services::ingest::bump;

/// Bytes of the journal that one batch takes, give or take a block.
const REPLAY_BYTES: usize = 512 << 10;

impl Committer {
    /// Keeps the next batch of the journal, and opens the direct way where
    /// that was the last.
    pub(super) async fn replay(&self, flight: &mut Flight) -> Result<Step, PortError> {
        self.lane.pour();
        self.locate(flight).await?;
        if let Some(entries) = self.was_kept(flight).await? {
            flight.skip = entries;
        }
        let position = self.position.load(Ordering::Relaxed);
        let replay_end = self.reader.replay_end();
        let of_earlier = position < replay_end;
        let mut chunks = self.reader.read(position, REPLAY_BYTES).await?;
        if of_earlier {
            chunks.retain(|chunk| chunk.end <= replay_end);
        }
        let Some(end) = chunks.last().map(|chunk| chunk.end) else {
            self.lane.drained(flight.own_replayed);
            return Ok(Step::default());
        };
        let read = chunks.iter().flat_map(Chunk::records);
        let (mut in_journal, mut entries) = (0, Vec::new());
        for bytes in read {
            in_journal += 1;
            if in_journal > flight.skip {
                entries.extend(Entry::decode(bytes));
            }
        }
        if of_earlier {
            self.tell_replayed(&entries);
        }
        let at = JournalPosition {
            journal: self.reader.id(),
            offset: end,
        };
        let samples = self
            .keep(&entries, Some(at), in_journal, &mut flight.doubt)
            .await?;
        let skipped = flight.skip.min(in_journal);
        flight.skip -= skipped;
        if !of_earlier {
            flight.own_replayed += in_journal as u64;
        }
        bump(&self.batches, 1);
        bump(&self.replayed, in_journal as u64);
        self.position.store(end, Ordering::Relaxed);
        self.reader.release(end);
        if end >= replay_end {
            self.lane.drained(flight.own_replayed);
        }
        Ok(Step {
            messages: entries.len(),
            samples,
            unreadable: in_journal - skipped - entries.len(),
            replayed: true,
        })
    }

    /// Asks the store, once, how far it has what an earlier process left.
    async fn locate(&self, flight: &mut Flight) -> Result<(), PortError> {
        if flight.is_located {
            return Ok(());
        }
        let start = self.reader.start();
        if start < self.reader.replay_end()
            && let Some(saved) = self.store.position(self.reader.id()).await?
        {
            // A journal brought back from a copy may be older than the store.
            let known = saved.offset.min(self.reader.replay_end());
            self.position.store(known.max(start), Ordering::Relaxed);
            self.reader.release(known);
        }
        flight.is_located = true;
        Ok(())
    }

    fn tell_replayed(&self, entries: &[Entry]) {
        for entry in entries {
            if let Entry::Record(Record::Control(control)) = entry {
                self.reception.tell_replayed(control);
            }
        }
    }
}
