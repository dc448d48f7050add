//! Fills the ring from history after a start, one device at a time, when
//! somebody first looks.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::ids::{DeviceKey, SocketId};
use crate::ports::PortError;
use crate::ports::history::{HistoryStore, SeriesId};
use crate::ports::hot::{HotState, RING_MS};

/// The most samples that are read back of one device: two hours at one a second.
const SAMPLES_MAX: usize = 7_200;

/// Brings back what the ring held before the process started.
pub struct Refill {
    hot: Arc<dyn HotState>,
    history: Arc<dyn HistoryStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// What was brought back since the ring was empty last.
struct State {
    /// How often it was found empty.
    emptied: u64,
    /// When that was noticed, or the process started.
    since: Timestamp,
    done: HashSet<DeviceKey>,
}

impl std::fmt::Debug for Refill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refill")
            .field("since", &self.state().since)
            .finish_non_exhaustive()
    }
}

impl Refill {
    /// A ring that is empty as of now.
    #[must_use]
    pub fn new(
        hot: Arc<dyn HotState>,
        history: Arc<dyn HistoryStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = State {
            emptied: hot.emptied(),
            since: clock.now(),
            done: HashSet::new(),
        };
        Self {
            hot,
            history,
            clock,
            state: Mutex::new(state),
        }
    }

    /// Makes sure that the ring has what `device` measured before the start,
    /// and before it was found empty, as far as the ring reaches back.
    ///
    /// # Errors
    /// When history does not answer; the next call tries again.
    pub async fn ensure(&self, device: DeviceKey) -> Result<(), PortError> {
        let reach = Duration::from_millis(RING_MS.unsigned_abs());
        let now = self.clock.now();
        let (emptied, until) = {
            let mut state = self.state();
            let emptied = self.hot.emptied();
            if state.emptied != emptied {
                *state = State {
                    emptied,
                    since: now,
                    done: HashSet::new(),
                };
            }
            if now - reach >= state.since || state.done.contains(&device) {
                return Ok(());
            }
            (emptied, state.since)
        };
        let series = SeriesId {
            device,
            socket: SocketId::STRIP,
        };
        let range = now - reach..until;
        let samples = self.history.samples(series, range, SAMPLES_MAX).await?;
        self.hot.put(device, &samples);
        let mut state = self.state();
        if state.emptied == emptied {
            state.done.insert(device);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::memory::{MemoryHistory, MemoryHot, RING_BUDGET};
    use crate::ports::hot::{Latest, Recent};
    use crate::sample::{DeviceSample, Sample, Values};
    use crate::site::SiteZone;

    const NOON: Timestamp = Timestamp::from_millis(1_767_355_200_000);
    const STRIP: DeviceKey = DeviceKey(7);

    fn sample(ts: Timestamp) -> DeviceSample {
        DeviceSample {
            device: STRIP,
            sample: Sample {
                socket: SocketId::STRIP,
                ts,
                values: Values {
                    power_dw: Some(425),
                    ..Values::default()
                },
            },
        }
    }

    #[derive(Debug, Default)]
    struct Losing(MemoryHot, std::sync::atomic::AtomicU64);

    impl Losing {
        fn lose(&self) {
            self.0.forget(STRIP);
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[async_trait::async_trait]
    impl HotState for Losing {
        fn put(&self, device: DeviceKey, samples: &[Sample]) {
            self.0.put(device, samples);
        }

        async fn latest(&self, devices: &[DeviceKey]) -> Result<Vec<Vec<Latest>>, PortError> {
            self.0.latest(devices).await
        }

        async fn recent(
            &self,
            device: DeviceKey,
            from: Timestamp,
            to: Timestamp,
        ) -> Result<Recent, PortError> {
            self.0.recent(device, from, to).await
        }

        fn forget(&self, device: DeviceKey) {
            self.0.forget(device);
        }

        fn sweep(&self, now: Timestamp) {
            self.0.sweep(now);
        }

        fn emptied(&self) -> u64 {
            self.1.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn a_ring_that_was_lost_is_filled_once_more_up_to_then() {
        let clock = Arc::new(ManualClock::at(NOON));
        let hot = Arc::new(Losing::default());
        let history = Arc::new(MemoryHistory::new(SiteZone::named("UTC").unwrap()));
        let hour = Duration::from_secs(3_600);
        let refill = Refill::new(hot.clone(), history.clone(), clock.clone());
        refill.ensure(STRIP).await.unwrap();
        clock.advance(hour * 5);
        let after_start = NOON + hour * 4;
        history
            .append(vec![sample(after_start)], None)
            .await
            .unwrap();
        refill.ensure(STRIP).await.unwrap();
        let of_ring = async || hot.recent(STRIP, NOON, clock.now()).await.unwrap().samples;
        assert_eq!(of_ring().await.len(), 0, "it was put when it was measured");
        for _ in 0..2 {
            hot.lose();
            refill.ensure(STRIP).await.unwrap();
            assert_eq!(of_ring().await[0].ts, after_start);
        }
    }

    #[tokio::test]
    async fn what_was_measured_before_the_start_is_back_once_somebody_looks() {
        let clock = Arc::new(ManualClock::at(NOON));
        let hot = Arc::new(MemoryHot::new(RING_BUDGET));
        let history = Arc::new(MemoryHistory::new(SiteZone::named("UTC").unwrap()));
        let too_old = NOON - Duration::from_secs(3 * 3_600);
        let recent = NOON - Duration::from_secs(60);
        let kept = vec![sample(too_old), sample(recent)];
        history.append(kept, None).await.unwrap();
        let refill = Refill::new(hot.clone(), history, clock);

        refill.ensure(STRIP).await.unwrap();
        refill.ensure(STRIP).await.unwrap();
        let ring = hot.recent(STRIP, too_old, NOON).await.unwrap();
        let times: Vec<_> = ring.samples.iter().map(|it| it.ts).collect();
        assert_eq!(times, [recent]);
    }
}
