//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// The upper bound of the first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The upper bound of any pause.
const LONGEST: Duration = Duration::from_secs(10);
/// The least part of the bound that is waited, so that no attempt follows the
/// last at once.
const LEAST: f64 = 0.1;

/// Doubling bounds with full jitter: when a broker comes back, its clients do
/// not all come at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: how long to wait now.
    pub(super) fn pause(&mut self) -> Duration {
        let bound = FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(rand::rng().random_range(LEAST..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_ten_seconds_and_start_over() {
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
