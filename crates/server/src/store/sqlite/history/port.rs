//! The ports of history, on SQLite.

use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{
    Appended, Expired, FleetEnergy, Floors, HistoryStore, HistoryUpkeep, PeriodSince, Rebuilt,
    SeriesId, Tier, Usage,
};
use dormouse_core::ports::journal::Progress;
use dormouse_core::rollup::{BucketAt, Level};
use dormouse_core::sample::{DeviceSample, Sample};
use dormouse_core::site::{Days, LocalDay, SiteZone};

use super::fresh::Fresh;
use super::keys::SeriesKey;
use super::read::FreshPart;
use super::upkeep::Expiring;
use super::{SqliteHistory, append, lock, read, upkeep, write};

#[async_trait]
impl HistoryStore for SqliteHistory {
    async fn append(
        &self,
        mut samples: Vec<DeviceSample>,
        progress: Option<Progress>,
    ) -> Result<Appended, PortError> {
        let by_series = |it: &DeviceSample| (it.device, it.sample.socket, it.sample.ts);
        if !samples.is_sorted_by_key(by_series) {
            samples.sort_by_key(by_series);
        }
        let mut writing = self.writing.lock().await;
        if self.move_is_due(&writing) {
            self.move_fresh(&mut writing).await?;
        }
        let fresh = Arc::clone(&self.fresh);
        let reload = std::mem::replace(&mut writing.unsure, true);
        let appended = self
            .file
            .write(move |db| {
                if reload {
                    let reloaded = Fresh::load(db)?;
                    *write(&fresh) = reloaded;
                }
                append::append(db, &fresh, &samples, progress.as_ref())
            })
            .await?;
        writing.unsure = false;
        Ok(appended)
    }

    async fn progress(&self) -> Result<Option<Progress>, PortError> {
        self.file.read(append::progress).await
    }

    async fn samples(
        &self,
        series: SeriesId,
        range: Range<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Sample>, PortError> {
        let Some(series) = SeriesKey::of(series).filter(|_| range.start < range.end) else {
            return Ok(Vec::new());
        };
        let fresh = Arc::clone(&self.fresh);
        self.file
            .read(move |db| {
                let fresh = part(&lock(&fresh), |it| match it.series.get(&series) {
                    Some(it) => it.samples.clone(),
                    None => Vec::new(),
                });
                read::samples(db, series, range, limit, fresh)
            })
            .await
    }

    async fn buckets(
        &self,
        series: SeriesId,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<BucketAt>, PortError> {
        let Some(series) = SeriesKey::of(series).filter(|_| range.start < range.end) else {
            return Ok(Vec::new());
        };
        let fresh = Arc::clone(&self.fresh);
        let zone = self.zone.clone();
        self.file
            .read(move |db| {
                let mut days = Days::new(zone.clone());
                let fresh = part(&lock(&fresh), |it| match it.series.get(&series) {
                    Some(it) => level.of_minutes(it.minutes.as_slice(), &mut days),
                    None => Vec::new(),
                });
                read::buckets(db, series, level, range, &zone, fresh)
            })
            .await
    }

    async fn fleet_energy(
        &self,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<FleetEnergy>, PortError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let fresh = Arc::clone(&self.fresh);
        let zone = self.zone.clone();
        self.file
            .read(move |db| {
                let fresh = part(&lock(&fresh), |it| fresh_fleet(it, level, &zone));
                read::fleet(db, level, &range, &zone, fresh)
            })
            .await
    }

    async fn floors(&self) -> Result<Floors, PortError> {
        self.file.read(read::floors).await
    }

    async fn note_periods(&self, periods: Vec<(DeviceKey, PeriodSince)>) -> Result<(), PortError> {
        self.file
            .write(move |db| {
                let note = |(device, period)| read::note_period(db, device, period);
                periods.into_iter().try_for_each(note)
            })
            .await
    }

    async fn periods(&self, device: DeviceKey) -> Result<Vec<PeriodSince>, PortError> {
        self.file.read(move |db| read::periods(db, device)).await
    }
}

#[async_trait]
impl HistoryUpkeep for SqliteHistory {
    async fn usage(&self) -> Result<Usage, PortError> {
        let fresh = Arc::clone(&self.fresh);
        let zone = self.zone.clone();
        self.file
            .read(move |db| {
                let newest = lock(&fresh).first_minute();
                let mut usage = upkeep::usage(db)?;
                let first = newest.map(|ts| zone.day_of(ts));
                usage.first_day = usage.first_day.into_iter().chain(first).min();
                Ok(usage)
            })
            .await
    }

    async fn series(&self) -> Result<Vec<SeriesId>, PortError> {
        let fresh = Arc::clone(&self.fresh);
        self.file
            .read(move |db| {
                let mut all: Vec<SeriesId> = {
                    let fresh = lock(&fresh);
                    let live = fresh.series.iter().filter(|(_, it)| !it.samples.is_empty());
                    live.map(|(key, _)| key.id()).collect()
                };
                all.extend(upkeep::series(db)?);
                all.sort_unstable();
                all.dedup();
                Ok(all)
            })
            .await
    }

    async fn expirable(&self, tier: Tier, before: Timestamp) -> Result<u64, PortError> {
        self.settle().await?;
        self.file
            .read(move |db| upkeep::expirable(db, tier, before))
            .await
    }

    async fn expire(
        &self,
        tier: Tier,
        before: Timestamp,
        limit: u64,
    ) -> Result<Expired, PortError> {
        let place = *self.expiring();
        if place.is_none() {
            self.settle().await?;
        }
        let (expired, place) = self
            .file
            .write(move |db| {
                let mut place = place;
                let expired = upkeep::expire(db, tier, before, limit.max(1), &mut place)?;
                Ok((expired, place))
            })
            .await?;
        *self.expiring() = place;
        Ok(expired)
    }

    async fn rebuild(&self, series: SeriesId, day: LocalDay) -> Result<Rebuilt, PortError> {
        let Some(series) = SeriesKey::of(series) else {
            return Ok(Rebuilt::default());
        };
        // Nothing may become fresh between moving and rebuilding.
        let mut writing = self.writing.lock().await;
        self.move_fresh(&mut writing).await?;
        let zone = self.zone.clone();
        self.file
            .write(move |db| upkeep::rebuild_day(db, series, &zone.range_of(day), &zone))
            .await
    }
}

impl SqliteHistory {
    fn expiring(&self) -> MutexGuard<'_, Option<Expiring>> {
        self.expiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves everything fresh into its place.
    async fn settle(&self) -> Result<(), PortError> {
        self.move_fresh(&mut *self.writing.lock().await).await
    }
}

fn part<T>(fresh: &Fresh, take: impl FnOnce(&Fresh) -> Vec<T>) -> FreshPart<T> {
    FreshPart::new(fresh, take(fresh))
}

fn fresh_fleet(fresh: &Fresh, level: Level, zone: &SiteZone) -> Vec<FleetEnergy> {
    let mut days = Days::new(zone.clone());
    let mut all = Vec::new();
    for (key, fresh) in &fresh.series {
        let series = key.id();
        let buckets = level.of_minutes(fresh.minutes.as_slice(), &mut days);
        all.extend(buckets.into_iter().map(|at| FleetEnergy {
            series,
            start: at.start,
            energy_wh: at.bucket.energy.total_wh(),
        }));
    }
    all
}
