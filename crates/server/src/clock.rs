//! The one place that reads the system's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use dormouse_core::clock::{Clock, Instant, Timestamp};

/// The system's wall clock and monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clocks"
    )]
    pub fn start() -> Self {
        Self {
            origin: std::time::Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clocks"
    )]
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }

    fn instant(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }
}
