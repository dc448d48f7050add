//! From the journal into the store, once the store answers again.

use std::sync::atomic::Ordering;

use super::committer::{Committer, Flight, Step};
use super::keep::Besides;
use super::sift::Settled;
use crate::ports::PortError;
use crate::ports::journal::{Chunk, JournalPosition};
use crate::record::{Entry, Record};
use crate::services::ingest::bump;

/// Bytes of the journal that one batch takes, give or take a block.
const REPLAY_BYTES: usize = 512 << 10;

/// A part of the journal on its way into the store.
pub(super) struct Stretch {
    entries: Vec<Entry>,
    /// Where it ends.
    end: u64,
    /// Entries that it has in the journal.
    in_journal: usize,
    /// Whether an earlier process left it there.
    of_earlier: bool,
}

impl Committer {
    /// Keeps the next batch of the journal, and opens the direct way where
    /// that was the last.
    pub(super) async fn replay(&self, flight: &mut Flight) -> Result<Step, PortError> {
        self.lane.pour();
        self.locate(flight).await?;
        if let Some(entries) = self.was_kept(flight).await? {
            flight.skip = entries;
            flight.stretch = None;
            flight.sifting.sieve = None;
        }
        if flight.sifting.sieve.is_none() {
            // More may have come; while a part of it is sifted, it stays.
            flight.stretch = self.read_on(flight.skip).await?;
        }
        // Stays where it is: whoever calls may stop waiting at any time.
        let Some(stretch) = &flight.stretch else {
            self.lane.drained(flight.own_replayed);
            return Ok(Step::default());
        };
        let besides = Besides {
            position: Some(JournalPosition {
                journal: self.reader.id(),
                offset: stretch.end,
            }),
            in_journal: stretch.in_journal,
            ..Besides::default()
        };
        let (entries, sifting) = (&stretch.entries, &mut flight.sifting);
        let settled = self.settle(sifting, entries, besides, &mut flight.doubt);
        let Some(settled) = settled.await? else {
            return Ok(Step::SIFTING);
        };
        let done = flight.stretch.take();
        Ok(done.map_or_else(Step::default, |stretch| {
            self.note_replayed(flight, &stretch, &settled)
        }))
    }

    /// The next part of the journal, without its first `skip` entries.
    async fn read_on(&self, skip: usize) -> Result<Option<Stretch>, PortError> {
        let position = self.position.load(Ordering::Relaxed);
        let replay_end = self.reader.replay_end();
        let of_earlier = position < replay_end;
        let mut chunks = self.reader.read(position, REPLAY_BYTES).await?;
        if of_earlier {
            chunks.retain(|chunk| chunk.end <= replay_end);
        }
        let Some(end) = chunks.last().map(|chunk| chunk.end) else {
            return Ok(None);
        };
        let (mut in_journal, mut entries) = (0, Vec::new());
        for bytes in chunks.iter().flat_map(Chunk::records) {
            in_journal += 1;
            if in_journal > skip {
                entries.extend(Entry::decode(bytes));
            }
        }
        if of_earlier {
            self.tell_replayed(&entries);
        }
        Ok(Some(Stretch {
            entries,
            end,
            in_journal,
            of_earlier,
        }))
    }

    /// The stretch is kept.
    fn note_replayed(&self, flight: &mut Flight, stretch: &Stretch, settled: &Settled) -> Step {
        let Stretch {
            end, in_journal, ..
        } = *stretch;
        let skipped = flight.skip.min(in_journal);
        flight.skip -= skipped;
        if !stretch.of_earlier {
            flight.own_replayed += in_journal as u64;
        }
        bump(&self.batches, 1);
        bump(&self.replayed, in_journal as u64);
        self.position.store(end, Ordering::Relaxed);
        self.reader.release(end);
        if end >= self.reader.replay_end() {
            self.lane.drained(flight.own_replayed);
        }
        Step {
            messages: stretch.entries.len(),
            samples: settled.samples,
            unreadable: in_journal - skipped - stretch.entries.len(),
            refused: settled.refused,
            sifting: false,
            replayed: true,
        }
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
