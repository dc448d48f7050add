//! Counts what came in, was repeated, refused or dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::clock::Timestamp;
use crate::decode::{Reason, Refusal};
use crate::topic::Channel;

/// The last body of a device that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRefusal {
    /// Why.
    pub refusal: Refusal,
    /// On which of its topics.
    pub channel: Channel,
    /// When.
    pub at: Timestamp,
}

/// What was refused of one device since the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    counts: [u32; Reason::ALL.len()],
    /// The last one.
    pub last: LastRefusal,
}

impl Refusals {
    pub(super) fn first(last: LastRefusal) -> Self {
        let mut refusals = Self {
            counts: [0; Reason::ALL.len()],
            last,
        };
        refusals.count();
        refusals
    }

    pub(super) fn add(&mut self, last: LastRefusal) {
        self.last = last;
        self.count();
    }

    fn count(&mut self) {
        let count = &mut self.counts[self.last.refusal.reason as usize];
        *count = count.saturating_add(1);
    }

    /// How many there were of each kind that occurred.
    pub fn counts(&self) -> impl Iterator<Item = (Reason, u32)> {
        Reason::ALL
            .into_iter()
            .zip(self.counts)
            .filter(|(_, count)| *count > 0)
    }
}

/// What came in since the server started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Messages of any kind.
    pub messages: u64,
    /// Samples taken.
    pub samples: u64,
    /// Messages that had come before and changed nothing.
    pub repeats: u64,
    /// Bodies refused.
    pub refused: u64,
    /// QoS 0 messages dropped while the journal was full.
    pub dropped: u64,
    /// Messages left without an acknowledgement since the journal was full.
    pub unacknowledged: u64,
}

/// The counters behind [`Totals`].
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) messages: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) unacknowledged: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Tally {
    pub(super) fn refuse(&self, reason: Reason) {
        bump(&self.refused[reason as usize], 1);
    }

    pub(super) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            messages: read(&self.messages),
            samples: read(&self.samples),
            repeats: read(&self.repeats),
            refused: self.refused.iter().map(read).sum(),
            dropped: read(&self.dropped),
            unacknowledged: read(&self.unacknowledged),
        }
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL
            .into_iter()
            .zip(&self.refused)
            .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
    }
}

pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
