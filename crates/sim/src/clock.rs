//! The one place in the simulator that reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Unix time in milliseconds; 0 if the clock of this machine stands before 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulator's only reading of the wall clock; everything else takes `now`"
)]
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// One reading of the clocks that a strip lives by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Milliseconds since the simulation began; never runs backwards.
    pub(crate) elapsed_ms: u64,
    /// The true wall clock, unix ms.
    pub(crate) unix_ms: i64,
    /// Local hour of the day, 0.0 to 24.0.
    pub(crate) hour: f64,
}

/// Where a fleet's time comes from: the monotonic clock, anchored once to the
/// wall clock, so that paused time in tests moves both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    origin: Instant,
    origin_unix_ms: i64,
    utc_offset_ms: i64,
}

const DAY_MS: i64 = 86_400_000;

impl Epoch {
    /// An epoch that begins now.
    pub(crate) fn begin(utc_offset_hours: f64) -> Self {
        Self {
            origin: Instant::now(),
            origin_unix_ms: unix_ms(),
            utc_offset_ms: crate::round::to_i64(utc_offset_hours * 3_600_000.0),
        }
    }

    /// Both clocks at this moment.
    pub(crate) fn now(&self) -> Now {
        let elapsed_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let unix_ms = self
            .origin_unix_ms
            .saturating_add(i64::try_from(elapsed_ms).unwrap_or(i64::MAX));
        let of_day_ms = unix_ms
            .saturating_add(self.utc_offset_ms)
            .rem_euclid(DAY_MS);
        let hour = crate::round::from_ms(u64::try_from(of_day_ms).unwrap_or(0)) / 3_600_000.0;
        Now {
            elapsed_ms,
            unix_ms,
            hour,
        }
    }

    /// When the simulation's clock shows `elapsed_ms`.
    pub(crate) fn instant(&self, elapsed_ms: u64) -> Instant {
        self.origin + Duration::from_millis(elapsed_ms)
    }
}
