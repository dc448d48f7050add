//! A token bucket: so many at once, so many a second after that.

use std::time::Duration;

use crate::clock::Instant;

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second in the long run; at least 1.
    pub per_second: u32,
    /// Requests at once after a pause; at least 1.
    pub burst: u32,
}

/// What one caller may still ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When the bucket will be full again.
    full_at: Instant,
}

impl Rate {
    fn per_token(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    fn capacity(self) -> Duration {
        self.per_token() * self.burst.max(1)
    }
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one token at `now`, or tells how long until there is one.
    ///
    /// # Errors
    /// The time to wait, where the bucket is empty.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.per_token();
        let debt = full_at.since(now);
        match debt.checked_sub(rate.capacity()) {
            None | Some(Duration::ZERO) => {
                self.full_at = full_at;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Whether it is full at `now`, so that it says nothing a new one would not.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate {
        per_second: 20,
        burst: 40,
    };

    fn at(ms: u64) -> Instant {
        Instant::from_origin(Duration::from_millis(ms))
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_every_fiftieth_of_a_second() {
        let mut bucket = Bucket::full(at(0));
        for n in 0..40 {
            assert_eq!(bucket.take(RATE, at(0)), Ok(()), "{n}");
        }
        let wait = Duration::from_millis(50);
        assert_eq!(bucket.take(RATE, at(0)), Err(wait));
        assert_eq!(bucket.take(RATE, at(49)), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(RATE, at(50)), Ok(()));
        assert_eq!(bucket.take(RATE, at(50)), Err(wait));
        assert!(!bucket.is_full(at(2_049)));
        assert!(bucket.is_full(at(2_050)));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_allow(
            steps in prop::collection::vec(0..200_u64, 1..300)
        ) {
            let mut bucket = Bucket::full(at(0));
            let (mut now, mut taken) = (0, 0);
            for step in steps {
                now += step;
                taken += u64::from(bucket.take(RATE, at(now)).is_ok());
                prop_assert!(taken <= 40 + now * 20 / 1_000);
            }
        }
    }
}
