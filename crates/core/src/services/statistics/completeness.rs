//! How complete a device's history is, hour by hour.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::Statistics;
use crate::clock::Timestamp;
use crate::completeness::{expected, ratio};
use crate::directory::reporting_period;
use crate::ids::{DeviceId, DeviceKey, SOCKET_MAX, SocketId};
use crate::ports::PortError;
use crate::ports::history::{PeriodSince, SeriesId};
use crate::rollup::{BucketAt, Level, coarsen};
use crate::services::history::{HistoryError, InvalidRange, check_range};

/// The days that one answer covers at most.
const REACH_DAYS: u32 = 92;
const HOUR: Duration = Duration::from_secs(3_600);

/// What came of what should have come in one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HourCompleteness {
    /// The hour's first moment.
    pub start: Timestamp,
    /// Samples that came: of the whole strip, or of the socket with the most.
    pub received: i64,
    /// Samples that should have come; `None` where no period is known.
    pub expected: Option<f64>,
    /// The received part of the expected, 0 to 1.
    pub ratio: Option<f64>,
}

impl Statistics {
    /// Notes the reporting periods that changed since the last call. Call it
    /// about once a minute.
    ///
    /// # Errors
    /// When the store fails; what was not noted is noted the next time.
    pub async fn note_periods(&self) -> Result<(), PortError> {
        let since = self.clock.now();
        let mut noted = self.noted.lock().await;
        let mut changed = Vec::new();
        for device in self.directory.all() {
            let period = reporting_period(&device);
            let period_ms = period.and_then(|it| u64::try_from(it.as_millis()).ok());
            if noted.get(&device.key) != Some(&period_ms) {
                changed.push((device.key, PeriodSince { since, period_ms }));
            }
        }
        if !changed.is_empty() {
            self.store.note_periods(changed.clone()).await?;
        }
        noted.extend(changed.into_iter().map(|(key, it)| (key, it.period_ms)));
        Ok(())
    }

    /// The hours of a device in which something came or should have come.
    ///
    /// # Errors
    /// When the device is unknown, the range cannot be answered or the store
    /// fails.
    pub async fn completeness(
        &self,
        device: &DeviceId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<HourCompleteness>, HistoryError> {
        let found = self.directory.by_id(device);
        let device = found.ok_or_else(|| HistoryError::UnknownDevice(device.clone()))?;
        let asked = check_range(from, to, self.clock.now())?;
        if asked.end.since(asked.start) > HOUR * 24 * REACH_DAYS {
            return Err(HistoryError::Range(InvalidRange {
                field: "from",
                rule: format!("completeness covers at most {REACH_DAYS} days at once"),
            }));
        }
        let range = self.zone.hour_start(asked.start)..asked.end;
        let received = self.received(device.key, &range).await?;
        let periods = self.store.periods(device.key).await?;
        let now = self.clock.now();
        let mut hours = Vec::new();
        let mut start = range.start;
        while start < range.end.min(now) {
            let due = start..(start + HOUR).min(now);
            let expected = expected(&periods, &due);
            let received = received.get(&start).copied().unwrap_or(0);
            if received > 0 || expected.is_some() {
                hours.push(HourCompleteness {
                    start,
                    received,
                    expected,
                    ratio: ratio(received, expected),
                });
            }
            start = start + HOUR;
        }
        Ok(hours)
    }

    /// Samples by hour: of the whole strip, or of the socket with the most.
    async fn received(
        &self,
        device: DeviceKey,
        range: &Range<Timestamp>,
    ) -> Result<BTreeMap<Timestamp, i64>, PortError> {
        let mut received = BTreeMap::new();
        for number in 0..=SOCKET_MAX {
            let socket = SocketId::parse(number.into()).unwrap_or_default();
            let series = SeriesId { device, socket };
            let quarters = self.store.buckets(series, Level::Quarter, range.clone());
            let hours = coarsen(&quarters.await?, |ts| self.zone.hour_start(ts));
            for BucketAt { start, bucket } in hours {
                let most = received.entry(start).or_insert(0);
                *most = bucket.count.max(*most);
            }
            if number == 0 && !received.is_empty() {
                break;
            }
        }
        Ok(received)
    }
}
