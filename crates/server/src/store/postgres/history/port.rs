//! The port of history, on PostgreSQL.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{
    Appended, FleetEnergy, Floors, HistoryStore, PeriodSince, SeriesId,
};
use dormouse_core::ports::intake::InboxVersion;
use dormouse_core::ports::journal::Progress;
use dormouse_core::rollup::{BucketAt, Level};
use dormouse_core::sample::{DeviceSample, Sample};

use super::super::convert::key_sql;
use super::PostgresHistory;
use super::absorb::absorb;
use super::hold::Hold;
use super::write::Beside;

/// A version that no inbox has: the caller knows none and wants none.
const ANY: InboxVersion = -1;

#[async_trait]
impl HistoryStore for PostgresHistory {
    async fn append(
        &self,
        mut samples: Vec<DeviceSample>,
        progress: Option<Progress>,
    ) -> Result<Appended, PortError> {
        sort(&mut samples);
        let inboxes = progress.as_ref().map(|it| &it.inboxes[..]);
        let inboxes = inboxes.unwrap_or_default();
        let by_samples = samples.iter().map(|it| it.device);
        let mut devices: Vec<_> = by_samples.chain(inboxes.iter().map(|it| it.0)).collect();
        devices.sort_unstable();
        devices.dedup();
        let devices: Vec<_> = devices.into_iter().map(|it| (it, ANY)).collect();
        if devices.is_empty() && progress.is_none() {
            return Ok(Appended::default());
        }
        let hold = Hold::begin(&self.db, &devices).await?;
        let taken = absorb(&hold, &samples, &self.zone).await?;
        let beside = Beside {
            inboxes,
            position: progress.as_ref().map(|it| it.position),
        };
        self.keep(hold, &taken, beside).await?;
        Ok(taken.appended)
    }

    async fn progress(&self) -> Result<Option<Progress>, PortError> {
        self.read_progress().await
    }

    async fn samples(
        &self,
        series: SeriesId,
        range: Range<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Sample>, PortError> {
        self.read_samples(series, range, limit).await
    }

    async fn buckets(
        &self,
        series: SeriesId,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<BucketAt>, PortError> {
        self.read_buckets(series, level, range).await
    }

    async fn fleet_energy(
        &self,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<FleetEnergy>, PortError> {
        self.read_fleet(level, range).await
    }

    async fn floors(&self) -> Result<Floors, PortError> {
        self.read_floors().await
    }

    async fn note_periods(&self, periods: Vec<(DeviceKey, PeriodSince)>) -> Result<(), PortError> {
        let mut devices: Vec<_> = periods.iter().map(|it| it.0).collect();
        devices.sort_unstable();
        devices.dedup();
        let mut known: BTreeMap<DeviceKey, BTreeMap<Timestamp, Option<u64>>> = BTreeMap::new();
        for (device, it) in self.read_periods(&devices).await? {
            let known = known.entry(device).or_default();
            known.insert(it.since, it.period_ms);
        }
        let mut changed: BTreeMap<(DeviceKey, Timestamp), Option<u64>> = BTreeMap::new();
        for (device, it) in periods {
            let known = known.entry(device).or_default();
            let before = known.range(..it.since).next_back();
            let in_force = before.is_some_and(|(_, period_ms)| *period_ms == it.period_ms);
            if known.contains_key(&it.since) || !in_force {
                known.insert(it.since, it.period_ms);
                changed.insert((device, it.since), it.period_ms);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let device: Vec<i32> = changed.keys().map(|(it, _)| key_sql(*it)).collect();
        let since: Vec<i64> = changed.keys().map(|(_, ts)| ts.as_millis()).collect();
        let period_ms: Vec<Option<i64>> = changed
            .values()
            .map(|ms| ms.and_then(|ms| i64::try_from(ms).ok()))
            .collect();
        let sql = "INSERT INTO periods SELECT * FROM unnest($1::int4[], $2::int8[], $3::int8[]) \
            ON CONFLICT (device, since) DO UPDATE SET period_ms = excluded.period_ms";
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&device, &since, &period_ms];
        self.db.execute(sql, &values).await.map(drop)
    }

    async fn periods(&self, device: DeviceKey) -> Result<Vec<PeriodSince>, PortError> {
        let periods = self.read_periods(&[device]).await?;
        Ok(periods.into_iter().map(|it| it.1).collect())
    }
}

/// Sorts by series and time; of equal ones the first stays first.
pub(super) fn sort(samples: &mut [DeviceSample]) {
    let by_series = |it: &DeviceSample| (it.device, it.sample.socket, it.sample.ts);
    if !samples.is_sorted_by_key(by_series) {
        samples.sort_by_key(by_series);
    }
}
