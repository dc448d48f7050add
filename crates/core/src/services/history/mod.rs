//! History as people ask for it: one socket, a range, a resolution.

mod range;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use range::{InvalidRange, Resolution, check_range};

use crate::clock::{Clock, Timestamp};
use crate::directory::Directory;
use crate::ids::{DeviceId, DeviceKey, SocketId};
use crate::ports::PortError;
use crate::ports::history::{HistoryStore, SeriesId};
use crate::rollup::{BucketAt, Level, coarsen, minute_start, quarter_start};
use crate::sample::Sample;
use crate::site::SiteZone;

/// The points that an automatic resolution aims to stay below.
const POINTS_MAX: u32 = 1_000;
/// The reach of the question whether raw samples are few enough.
const RAW_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Which socket; 0 for the whole strip.
    pub socket: SocketId,
    /// The first moment; a day before `to` where not said.
    pub from: Option<Timestamp>,
    /// The moment after the last; now where not said.
    pub to: Option<Timestamp>,
    /// How fine; `None` to have it chosen.
    pub resolution: Option<Resolution>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chart {
    /// The range in full buckets: from the start of the first.
    pub range: Range<Timestamp>,
    /// How fine the points are.
    pub resolution: Resolution,
    /// The points in order of time; where there are none, nothing is known.
    pub points: Points,
}

/// The points of a [`Chart`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Points {
    /// As measured.
    Raw(Vec<Sample>),
    /// Added up.
    Buckets(Vec<BucketAt>),
}

/// Where an export stands: the rows that are still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    series: SeriesId,
    resolution: Resolution,
    left: Range<Timestamp>,
}

/// Why history was refused.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// No device has this id.
    #[error("there is no device {0}")]
    UnknownDevice(DeviceId),
    /// The range cannot be answered.
    #[error(transparent)]
    Range(#[from] InvalidRange),
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Answers questions about the past.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn HistoryStore>,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    zone: SiteZone,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

impl History {
    /// Wires the service to its store.
    #[must_use]
    pub fn new(
        store: Arc<dyn HistoryStore>,
        directory: Arc<dyn Directory>,
        clock: Arc<dyn Clock>,
        zone: SiteZone,
    ) -> Self {
        Self {
            store,
            directory,
            clock,
            zone,
        }
    }

    /// One chart's worth of history.
    ///
    /// # Errors
    /// When the device is unknown, the range cannot be answered or the store
    /// fails.
    pub async fn chart(
        &self,
        device: &DeviceId,
        query: HistoryQuery,
    ) -> Result<Chart, HistoryError> {
        let series = self.series(device, query.socket)?;
        let asked = self.range(&query)?;
        let resolution = match query.resolution {
            Some(resolution) => {
                resolution.check_reach(&asked)?;
                resolution
            }
            None => self.choose(series, &asked).await?,
        };
        let range = self.start_of(resolution, asked.start)..asked.end;
        let points = self.points(series, resolution, &range, usize::MAX).await?;
        Ok(Chart {
            range,
            resolution,
            points,
        })
    }

    /// The start of an export of whatever length.
    ///
    /// # Errors
    /// When the device is unknown or the range makes no sense.
    pub fn export(&self, device: &DeviceId, query: HistoryQuery) -> Result<Export, HistoryError> {
        let series = self.series(device, query.socket)?;
        let asked = self.range(&query)?;
        let resolution = query.resolution.unwrap_or(Resolution::Raw);
        Ok(Export {
            series,
            resolution,
            left: self.start_of(resolution, asked.start)..asked.end,
        })
    }

    /// The next rows of an export, and what is left of it; `None` at its end.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_rows(
        &self,
        mut export: Export,
        rows: usize,
    ) -> Result<Option<(Points, Export)>, PortError> {
        let mut points = Points::Raw(Vec::new());
        while export.left.start < export.left.end {
            let left = export.left.clone();
            let part = left.start..self.part_end(export.resolution, &left, rows);
            points = self
                .points(export.series, export.resolution, &part, rows)
                .await?;
            export.left.start = match (&points, points.last()) {
                // A full page of samples may have more behind it.
                (Points::Raw(samples), Some(last)) if samples.len() == rows => {
                    last + Duration::from_millis(1)
                }
                (Points::Raw(_) | Points::Buckets(_), _) => part.end,
            };
            if !points.is_empty() {
                break;
            }
        }
        Ok((!points.is_empty()).then_some((points, export)))
    }

    /// Where a part of an export ends that has at most about `rows` rows. Raw
    /// samples are limited by number instead.
    fn part_end(&self, resolution: Resolution, left: &Range<Timestamp>, rows: usize) -> Timestamp {
        let Some(least) = resolution.least() else {
            return left.end;
        };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let end = left.start + least.saturating_mul(rows);
        // Buckets must not be cut in two.
        self.start_of(resolution, end)
            .max(left.start + least)
            .min(left.end)
    }

    fn series(&self, device: &DeviceId, socket: SocketId) -> Result<SeriesId, HistoryError> {
        let found = self.directory.by_id(device);
        let device = found.ok_or_else(|| HistoryError::UnknownDevice(device.clone()))?;
        let device: DeviceKey = device.key;
        Ok(SeriesId { device, socket })
    }

    fn range(&self, query: &HistoryQuery) -> Result<Range<Timestamp>, InvalidRange> {
        check_range(query.from, query.to, self.clock.now())
    }

    /// The finest resolution whose points stay within [`POINTS_MAX`].
    async fn choose(
        &self,
        series: SeriesId,
        range: &Range<Timestamp>,
    ) -> Result<Resolution, PortError> {
        let length = range.end.since(range.start);
        let fits = |resolution: Resolution| match resolution.least() {
            Some(least) => length <= least * POINTS_MAX,
            None => length <= RAW_MAX,
        };
        if fits(Resolution::Raw) || fits(Resolution::Minute) {
            let floors = self.store.floors().await?;
            let kept = |floor: Option<Timestamp>| floor.is_none_or(|it| it <= range.start);
            let few = async || {
                let around = quarter_start(range.start)..range.end;
                let quarters = self.store.buckets(series, Level::Quarter, around).await?;
                let samples: i64 = quarters.iter().map(|it| it.bucket.count).sum();
                Ok::<_, PortError>(samples <= i64::from(POINTS_MAX))
            };
            if fits(Resolution::Raw) && kept(floors.raw) && few().await? {
                return Ok(Resolution::Raw);
            }
            if fits(Resolution::Minute) && kept(floors.minute) {
                return Ok(Resolution::Minute);
            }
        }
        let coarser = [Resolution::Quarter, Resolution::Hour];
        Ok(coarser
            .into_iter()
            .find(|it| fits(*it))
            .unwrap_or(Resolution::Day))
    }

    async fn points(
        &self,
        series: SeriesId,
        resolution: Resolution,
        range: &Range<Timestamp>,
        limit: usize,
    ) -> Result<Points, PortError> {
        let level = match resolution {
            Resolution::Raw => {
                let samples = self.store.samples(series, range.clone(), limit).await?;
                return Ok(Points::Raw(samples));
            }
            Resolution::Minute => Level::Minute,
            Resolution::Quarter | Resolution::Hour => Level::Quarter,
            Resolution::Day => Level::Day,
        };
        let buckets = self.store.buckets(series, level, range.clone()).await?;
        Ok(Points::Buckets(if resolution == Resolution::Hour {
            coarsen(&buckets, |ts| self.zone.hour_start(ts))
        } else {
            buckets
        }))
    }

    fn start_of(&self, resolution: Resolution, ts: Timestamp) -> Timestamp {
        match resolution {
            Resolution::Raw => ts,
            Resolution::Minute => minute_start(ts),
            Resolution::Quarter => quarter_start(ts),
            Resolution::Hour => self.zone.hour_start(ts),
            Resolution::Day => self.zone.start_of(self.zone.day_of(ts)),
        }
    }
}

impl Points {
    fn is_empty(&self) -> bool {
        match self {
            Self::Raw(samples) => samples.is_empty(),
            Self::Buckets(buckets) => buckets.is_empty(),
        }
    }

    fn last(&self) -> Option<Timestamp> {
        match self {
            Self::Raw(samples) => samples.last().map(|it| it.ts),
            Self::Buckets(buckets) => buckets.last().map(|it| it.start),
        }
    }
}

#[cfg(test)]
mod tests;
