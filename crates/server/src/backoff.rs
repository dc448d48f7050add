//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// The upper bound of the first pause, unless it is given.
const FIRST: Duration = Duration::from_millis(200);
/// The upper bound of any pause, unless it is given.
const LONGEST: Duration = Duration::from_secs(10);
/// The least part of the bound that is waited, so that no attempt follows the
/// last at once.
const LEAST: f64 = 0.1;

/// Doubling bounds with full jitter: when a server comes back, its clients do
/// not all come at the same moment.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FIRST, LONGEST)
    }
}

impl Backoff {
    /// The bound of the first pause is `first`; none is longer than `longest`.
    #[must_use]
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// It worked: the next pause is short again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait now.
    pub fn pause(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let share = rand::rng().random_range(LEAST..=1.0);
        bound.min(self.longest).mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_start_over() {
        let mut backoff = Backoff::default();
        for bound in [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let pause = backoff.pause();
            let bound = Duration::from_millis(bound);
            assert!(pause <= bound && pause >= bound.mul_f64(LEAST), "{pause:?}");
        }
        for _ in 0..50 {
            backoff.pause();
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
