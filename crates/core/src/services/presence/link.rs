//! Whether messages can come in, and since when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Instant;

/// "Closed" in [`Link::since_ms`].
const CLOSED: u64 = u64::MAX;

/// The way from the devices to us, as a whole.
#[derive(Debug)]
pub(super) struct Link {
    since_ms: AtomicU64,
}

impl Link {
    pub(super) fn open_since(now: Instant) -> Self {
        Self {
            since_ms: AtomicU64::new(millis(now)),
        }
    }

    pub(super) fn close(&self) {
        self.since_ms.store(CLOSED, Ordering::SeqCst);
    }

    /// Returns whether it was closed before.
    pub(super) fn open(&self, now: Instant) -> bool {
        let swapped =
            self.since_ms
                .compare_exchange(CLOSED, millis(now), Ordering::SeqCst, Ordering::SeqCst);
        swapped.is_ok()
    }

    /// Since when it is open; `None` while it is closed.
    pub(super) fn since(&self) -> Option<Instant> {
        let ms = self.since_ms.load(Ordering::SeqCst);
        (ms != CLOSED).then(|| Instant::from_origin(Duration::from_millis(ms)))
    }
}

fn millis(at: Instant) -> u64 {
    u64::try_from(at.since_origin().as_millis()).unwrap_or(CLOSED - 1)
}
