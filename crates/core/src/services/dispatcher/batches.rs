//! Batches on their way: who may be sent to next.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::clock::Instant;
use crate::command::{Batch, BatchItem, Rates};
use crate::ids::BatchId;

/// Batches that may run at once; one more is told to come back.
const RUNNING_MAX: usize = 32;
/// Commands of one batch that may be pending at once.
const IN_FLIGHT_MAX: usize = 64;

/// The batches with items that wait, or commands that are pending.
#[derive(Debug, Default)]
pub(super) struct RunningBatches(HashMap<BatchId, Running>);

#[derive(Debug)]
struct Running {
    batch: Arc<Batch>,
    /// When each item that waits may be tried, in order.
    waiting: BTreeSet<(Instant, u32)>,
    in_flight: usize,
}

/// An item whose turn has come.
pub(super) struct Ready {
    pub(super) batch: Arc<Batch>,
    pub(super) item: u32,
}

impl RunningBatches {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= RUNNING_MAX
    }

    pub(super) fn start(&mut self, batch: Arc<Batch>, now: Instant) {
        let items = u32::try_from(batch.targets.len()).unwrap_or(u32::MAX);
        let running = Running {
            waiting: (0..items).map(|item| (now, item)).collect(),
            in_flight: 0,
            batch,
        };
        self.0.insert(running.batch.id, running);
    }

    /// Takes the items that may be sent now; those whose device was sent
    /// enough this second wait for it.
    pub(super) fn take_ready(&mut self, now: Instant, rates: &Rates) -> Vec<Ready> {
        let mut ready = Vec::new();
        for running in self.0.values_mut() {
            while running.in_flight < IN_FLIGHT_MAX
                && let Some(&(at, item)) = running.waiting.first()
                && at <= now
            {
                running.waiting.remove(&(at, item));
                let Some(target) = running.batch.targets.get(item as usize) else {
                    continue;
                };
                let free_at = rates.free_at(target.device, now);
                if free_at > now {
                    running.waiting.insert((free_at, item));
                    continue;
                }
                running.in_flight += 1;
                let batch = Arc::clone(&running.batch);
                ready.push(Ready { batch, item });
            }
        }
        ready
    }

    /// Lets an item that was taken wait again, until `at`.
    pub(super) fn put_back(&mut self, item: BatchItem, at: Instant) {
        if let Some(running) = self.0.get_mut(&item.batch) {
            running.in_flight = running.in_flight.saturating_sub(1);
            running.waiting.insert((at, item.item));
        }
    }

    /// One item that was taken is final.
    pub(super) fn answered(&mut self, batch: BatchId) {
        if let Some(running) = self.0.get_mut(&batch) {
            running.in_flight = running.in_flight.saturating_sub(1);
            if running.in_flight == 0 && running.waiting.is_empty() {
                self.0.remove(&batch);
            }
        }
    }

    /// When the next item may be tried.
    pub(super) fn next_ready(&self) -> Option<Instant> {
        self.0
            .values()
            .filter(|it| it.in_flight < IN_FLIGHT_MAX)
            .filter_map(|it| it.waiting.first().map(|(at, _)| *at))
            .min()
    }
}
