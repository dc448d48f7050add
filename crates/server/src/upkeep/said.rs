//! What fails again and again is said once, as is its end, and is tried again
//! at growing intervals.

use std::error::Error;
use std::time::Duration;

use dormouse_core::ports::PortError;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;

/// How long a loop rests after a first failure, at most.
const REST_MIN: Duration = Duration::from_millis(250);
/// How long it rests at most: within 10 s of a database's return everything
/// is as before.
const REST_MAX: Duration = Duration::from_secs(2);

/// Says when something begins to fail, and when it works again.
#[derive(Debug)]
pub(super) struct Said {
    what: &'static str,
    failing: bool,
    backoff: Backoff,
}

impl Said {
    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            failing: false,
            backoff: Backoff::between(REST_MIN, REST_MAX),
        }
    }

    /// Says what is new about it, and rests where it failed, until `stop`.
    pub(super) async fn rest_if_failed<T>(
        &mut self,
        outcome: &Result<T, PortError>,
        stop: &CancellationToken,
    ) {
        match outcome {
            Ok(_) => self.worked(),
            Err(error) => {
                let pause = tokio::time::sleep(self.failed(error));
                stop.run_until_cancelled(pause).await;
            }
        }
    }

    /// It works.
    pub(super) fn worked(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.failing) {
            tracing::info!(what = self.what, "works again");
        }
    }

    /// It failed: returns how long to rest, the longer the more often it
    /// failed in a row.
    pub(super) fn failed(&mut self, error: &(dyn Error + 'static)) -> Duration {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                what = self.what,
                error,
                "cannot be read or written; trying again"
            );
        }
        self.backoff.pause()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rests_grow_with_failures_and_end_with_a_success_or_a_stop() {
        let (mut said, stop) = (Said::new("a test"), CancellationToken::new());
        let down: Result<(), _> = Err(PortError::unavailable("down"));
        let mut bound = REST_MIN;
        for _ in 0..6 {
            let begun = Instant::now();
            said.rest_if_failed(&down, &stop).await;
            let rested = begun.elapsed();
            assert!(!rested.is_zero(), "jitter leaves something");
            assert!(rested <= bound + Duration::from_millis(1), "{rested:?}");
            bound = (bound * 2).min(REST_MAX);
        }
        let begun = Instant::now();
        said.rest_if_failed(&Ok(()), &stop).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        said.rest_if_failed(&down, &stop).await;
        assert!(begun.elapsed() <= REST_MIN + Duration::from_millis(1));
        stop.cancel();
        let begun = Instant::now();
        said.rest_if_failed(&down, &stop).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
