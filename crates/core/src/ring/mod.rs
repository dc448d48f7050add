//! The ring: the last two hours of one device's totals, in delta-coded blocks.

mod bits;
mod block;
mod runs;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use block::{Block, Tail};
pub use runs::{merge, read, run};

use crate::clock::Timestamp;
use crate::ports::hot::{RING_MS, Recent, RingSample};
use crate::sample::{Sample, Values};

/// A block is closed at this many samples: a quarter of an hour at one in 5 s.
const BLOCK_SAMPLES: u32 = 180;
/// A block is closed when it spans this much, so that old samples can go.
const BLOCK_SPAN: Duration = Duration::from_secs(30 * 60);
/// Younger samples are never thinned.
const FULL_DETAIL: Duration = Duration::from_secs(15 * 60);
/// What thinning leaves: one sample in this many milliseconds.
const THINNED_STEP_MS: i64 = 30_000;
const REACH: Duration = Duration::from_millis(RING_MS.unsigned_abs());

/// What `samples` add to a ring, moment by moment: the strip's own reading; of
/// strips that only meter their sockets, their power together.
pub fn totals(samples: &[Sample]) -> impl Iterator<Item = RingSample> + '_ {
    samples.chunk_by(|a, b| a.ts == b.ts).filter_map(total_of)
}

fn total_of(moment: &[Sample]) -> Option<RingSample> {
    let ts = moment.first()?.ts;
    if let Some(strip) = moment.iter().find(|s| s.socket.is_strip()) {
        let values = strip.values;
        return Some(RingSample { ts, values });
    }
    let powers = moment.iter().filter_map(|s| s.values.power_dw);
    let power_dw = powers.reduce(i32::saturating_add)?;
    let values = Values {
        power_dw: Some(power_dw),
        ..Values::default()
    };
    Some(RingSample { ts, values })
}

/// Recent totals of one device.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ring {
    closed: VecDeque<Block>,
    tail: Tail,
    /// How many of `closed`, from the oldest on, are thinned.
    thinned: usize,
    /// Everything before it is thinned.
    thinned_before: Option<Timestamp>,
    /// Whether what it takes may have changed since [`Ring::grew`].
    grew: bool,
}

impl Ring {
    /// Puts a sample in its place; one whose time is there already changes
    /// nothing, and neither does one from before the ring's reach.
    pub(crate) fn insert(&mut self, sample: &RingSample) {
        if self.tail.count == 0 && self.closed.is_empty() {
            self.tail.push(sample);
            return;
        }
        if sample.ts > self.newest() {
            let full =
                self.tail.count >= BLOCK_SAMPLES || sample.ts.since(self.tail.first) > BLOCK_SPAN;
            if full {
                self.close_tail();
                self.expire(sample.ts - REACH);
            }
            self.tail.push(sample);
        } else if sample.ts >= self.newest() - REACH {
            self.insert_late(sample);
        }
    }

    /// The time of the newest sample.
    fn newest(&self) -> Timestamp {
        if self.tail.count > 0 {
            return self.tail.last;
        }
        self.closed.back().map_or(Timestamp::default(), |b| b.last)
    }

    fn close_tail(&mut self) {
        if self.tail.count > 0 {
            let tail = std::mem::take(&mut self.tail);
            self.closed.push_back(tail.close());
            self.grew = true;
        }
    }

    fn insert_late(&mut self, sample: &RingSample) {
        if self.tail.count > 0 && sample.ts >= self.tail.first {
            let mut samples: Vec<_> = self.tail.samples().collect();
            if place(&mut samples, sample) {
                self.tail = Tail::of(&samples);
            }
            return;
        }
        // The last block that starts before it, else the first of all.
        let index = self.closed.partition_point(|b| b.first <= sample.ts);
        let index = index.saturating_sub(1);
        self.grew = true;
        let Some(block) = self.closed.get(index) else {
            let mut samples: Vec<_> = self.tail.samples().collect();
            if place(&mut samples, sample) {
                self.tail = Tail::of(&samples);
            }
            return;
        };
        let mut samples: Vec<_> = block.samples().collect();
        if !place(&mut samples, sample) {
            return;
        }
        if block.count < 2 * BLOCK_SAMPLES {
            self.closed[index] = Tail::of(&samples).close();
            return;
        }
        let (older, younger) = samples.split_at(samples.len() / 2);
        self.closed[index] = Tail::of(younger).close();
        self.closed.insert(index, Tail::of(older).close());
        if index < self.thinned {
            self.thinned += 1;
        }
    }

    /// The samples from `from` (included) to `to` (not).
    pub(crate) fn read(&self, from: Timestamp, to: Timestamp) -> Recent {
        let wanted = |first: Timestamp, last: Timestamp| last >= from && first < to;
        let closed = self.closed.iter().filter(|b| wanted(b.first, b.last));
        let tail = Some(&self.tail).filter(|t| t.count > 0 && wanted(t.first, t.last));
        let samples = closed
            .flat_map(Block::samples)
            .chain(tail.into_iter().flat_map(Tail::samples))
            .filter(|sample| (from..to).contains(&sample.ts))
            .collect();
        Recent {
            samples,
            thinned_before: self.thinned_before.filter(|before| *before > from),
        }
    }

    /// Drops blocks that end before `floor`.
    pub(crate) fn expire(&mut self, floor: Timestamp) {
        while self.closed.front().is_some_and(|block| block.last < floor) {
            self.drop_oldest();
        }
        if self.thinned == 0 {
            self.thinned_before = None;
        }
        if self.closed.is_empty() && self.tail.count > 0 && self.tail.last < floor {
            self.tail = Tail::default();
        }
    }

    /// Drops the oldest closed block; `false` where there is none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        self.thinned = self.thinned.saturating_sub(1);
        self.closed.pop_front().is_some()
    }

    /// Whether [`Ring::thin`] would free anything.
    pub(crate) fn can_thin(&self) -> bool {
        let young = self.newest() - FULL_DETAIL;
        let next = self.closed.get(self.thinned);
        next.is_some_and(|block| block.last < young)
    }

    /// Thins what is older than a quarter of an hour to one sample in 30 s.
    pub(crate) fn thin(&mut self) {
        let young = self.newest() - FULL_DETAIL;
        let old = self.closed.partition_point(|block| block.last < young);
        if old <= self.thinned {
            return;
        }
        // The youngest thinned block may have room for what follows.
        let from = self.thinned.saturating_sub(1);
        let mut samples: Vec<RingSample> = Vec::new();
        for block in self.closed.range(from..old) {
            for sample in block.samples() {
                match samples.last_mut() {
                    Some(last) if slot(last) == slot(&sample) => *last = sample,
                    _ => samples.push(sample),
                }
            }
        }
        self.thinned_before = self
            .closed
            .get(old - 1)
            .map(|b| b.last + Duration::from_millis(1));
        let kept = self.closed.split_off(old);
        self.closed.truncate(from);
        for part in samples.chunks(BLOCK_SAMPLES as usize) {
            self.closed.push_back(Tail::of(part).close());
        }
        self.thinned = self.closed.len();
        self.closed.extend(kept);
    }

    /// Whether what it takes has changed by a block since this was asked last.
    pub(crate) const fn grew(&mut self) -> bool {
        std::mem::replace(&mut self.grew, false)
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let unused = self.closed.capacity() - self.closed.len();
        size_of::<Self>()
            + unused * size_of::<Block>()
            + self.closed.iter().map(Block::bytes).sum::<usize>()
            + self.tail.bytes()
    }
}

const fn slot(sample: &RingSample) -> i64 {
    sample.ts.as_millis().div_euclid(THINNED_STEP_MS)
}

/// Inserts in order of time; `false` where that time is taken.
fn place(samples: &mut Vec<RingSample>, sample: &RingSample) -> bool {
    match samples.binary_search_by_key(&sample.ts, |s| s.ts) {
        Ok(_) => false,
        Err(index) => {
            samples.insert(index, *sample);
            true
        }
    }
}
