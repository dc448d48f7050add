//! Who to look at next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::Instant;
use crate::ids::DeviceKey;

/// Devices in order of the moments at which to look at them. Holds one entry
/// per device online, and for a moment another where its deadline came closer.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: Mutex<BinaryHeap<Reverse<(Instant, DeviceKey)>>>,
    moved: Notify,
}

impl Deadlines {
    pub(super) fn push(&self, at: Instant, key: DeviceKey) {
        let mut heap = self.heap();
        let is_next = heap.peek().is_none_or(|Reverse((next, _))| at < *next);
        heap.push(Reverse((at, key)));
        drop(heap);
        if is_next {
            self.moved.notify_one();
        }
    }

    pub(super) fn pop_due(&self, now: Instant) -> Option<(Instant, DeviceKey)> {
        let mut heap = self.heap();
        let is_due = heap.peek().is_some_and(|Reverse((at, _))| *at <= now);
        is_due.then(|| heap.pop().map(|Reverse(entry)| entry))?
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap().peek().map(|Reverse((at, _))| *at)
    }

    /// Waits until [`Self::next`] has become earlier.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Wakes whoever waits for [`Self::moved`].
    pub(super) fn wake(&self) {
        self.moved.notify_one();
    }

    fn heap(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(Instant, DeviceKey)>>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap().len()
    }
}
