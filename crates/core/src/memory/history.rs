//! History in maps.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::energy::GAP_MS;
use crate::ids::DeviceKey;
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::history::{
    Appended, EARLIEST, Expired, FleetEnergy, Floors, HistoryStore, HistoryUpkeep, LATEST,
    PeriodSince, Rebuilt, SeriesId, Tier, Usage,
};
use crate::ports::journal::Progress;
use crate::rollup::{Bucket, BucketAt, Context, Level, Minutes, Series, SeriesRows, rebuild};
use crate::sample::{DeviceSample, Sample};
use crate::site::{Days, LocalDay, SiteZone};

/// History in maps; lost when the process ends.
#[derive(Debug)]
pub struct MemoryHistory {
    zone: SiteZone,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    series: BTreeMap<SeriesId, Kept>,
    progress: Option<Progress>,
    periods: BTreeMap<DeviceKey, Vec<PeriodSince>>,
    floors: Floors,
}

#[derive(Debug, Default)]
struct Kept {
    end: Series,
    samples: Samples,
    levels: BTreeMap<Level, BTreeMap<Timestamp, Bucket>>,
}

#[derive(Debug, Default)]
struct Samples(BTreeMap<Timestamp, Sample>);

impl SeriesRows for Samples {
    type Error = Infallible;

    fn newest(&mut self) -> Result<Option<Timestamp>, Infallible> {
        Ok(self.0.last_key_value().map(|(ts, _)| *ts))
    }

    fn before(&mut self, ts: Timestamp) -> Result<Context, Infallible> {
        Context::recall(self.0.range(..ts).rev().map(|(_, sample)| Ok(*sample)))
    }

    fn from(&mut self, ts: Timestamp, limit: usize) -> Result<Vec<Sample>, Infallible> {
        let samples = self.0.range(ts..).take(limit);
        Ok(samples.map(|(_, sample)| *sample).collect())
    }
}

impl MemoryHistory {
    /// An empty history of a site in `zone`.
    #[must_use]
    pub fn new(zone: SiteZone) -> Self {
        Self {
            zone,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn levels(&self, minutes: &[BucketAt]) -> [(Level, Vec<BucketAt>); 3] {
        let mut days = Days::new(self.zone.clone());
        Level::ALL.map(|level| (level, level.of_minutes(minutes, &mut days)))
    }
}

#[async_trait]
impl HistoryStore for MemoryHistory {
    async fn append(
        &self,
        mut samples: Vec<DeviceSample>,
        progress: Option<Progress>,
    ) -> Result<Appended, PortError> {
        samples.sort_by_key(|it| (it.device, it.sample.socket, it.sample.ts));
        let mut state = self.state();
        let floor = state.floors.raw.unwrap_or(EARLIEST);
        let mut appended = Appended::default();
        for run in samples.chunk_by(|a, b| SeriesId::from(a) == SeriesId::from(b)) {
            let acceptable: Vec<Sample> = run
                .iter()
                .map(|it| it.sample)
                .filter(|it| (floor..LATEST).contains(&it.ts))
                .collect();
            appended.out_of_range += run.len() - acceptable.len();
            if acceptable.is_empty() {
                continue;
            }
            let kept = state.series.entry(SeriesId::from(&run[0])).or_default();
            let mut minutes = Minutes::default();
            let Ok(absorbed) = kept
                .end
                .absorb(&acceptable, &mut kept.samples, &mut minutes);
            appended.new += absorbed.new.len();
            appended.repeated += absorbed.repeated;
            kept.samples
                .0
                .extend(absorbed.new.iter().map(|it| (it.ts, *it)));
            for (level, buckets) in self.levels(minutes.as_slice()) {
                let kept = kept.levels.entry(level).or_default();
                for at in buckets {
                    kept.entry(at.start).or_default().add(&at.bucket);
                }
            }
        }
        if let Some(mut progress) = progress {
            let old = state.progress.take().into_iter().flat_map(|it| it.inboxes);
            let newer: BTreeMap<_, _> = old.chain(progress.inboxes).collect();
            progress.inboxes = newer.into_iter().collect();
            state.progress = Some(progress);
        }
        Ok(appended)
    }

    async fn progress(&self) -> Result<Option<Progress>, PortError> {
        Ok(self.state().progress.clone())
    }

    async fn samples(
        &self,
        series: SeriesId,
        range: Range<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Sample>, PortError> {
        let state = self.state();
        let start = range.start.max(state.floors.raw.unwrap_or(EARLIEST));
        let Some(kept) = state.series.get(&series).filter(|_| start < range.end) else {
            return Ok(Vec::new());
        };
        let samples = kept.samples.0.range(start..range.end).take(limit);
        Ok(samples.map(|(_, sample)| *sample).collect())
    }

    async fn buckets(
        &self,
        series: SeriesId,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<BucketAt>, PortError> {
        let state = self.state();
        let buckets = state.series.get(&series).map(|it| it.of(level, &range));
        Ok(buckets.into_iter().flatten().collect())
    }

    async fn fleet_energy(
        &self,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<FleetEnergy>, PortError> {
        let state = self.state();
        let mut fleet = Vec::new();
        for (series, kept) in &state.series {
            fleet.extend(kept.of(level, &range).map(|at| FleetEnergy {
                series: *series,
                start: at.start,
                energy_wh: at.bucket.energy.total_wh(),
            }));
        }
        Ok(fleet)
    }

    async fn floors(&self) -> Result<Floors, PortError> {
        Ok(self.state().floors)
    }

    async fn note_periods(&self, periods: Vec<(DeviceKey, PeriodSince)>) -> Result<(), PortError> {
        let mut state = self.state();
        for (device, period) in periods {
            let noted = state.periods.entry(device).or_default();
            let after = noted.partition_point(|it| it.since < period.since);
            let in_force = after
                .checked_sub(1)
                .and_then(|index| noted[index].period_ms);
            if noted.get(after).is_some_and(|it| it.since == period.since) {
                noted[after] = period;
            } else if after == 0 || in_force != period.period_ms {
                noted.insert(after, period);
            }
        }
        Ok(())
    }

    async fn periods(&self, device: DeviceKey) -> Result<Vec<PeriodSince>, PortError> {
        Ok(self
            .state()
            .periods
            .get(&device)
            .cloned()
            .unwrap_or_default())
    }
}

#[async_trait]
impl HistoryUpkeep for MemoryHistory {
    async fn usage(&self) -> Result<Usage, PortError> {
        let state = self.state();
        let days = state
            .series
            .values()
            .filter_map(|it| it.levels.get(&Level::Day));
        let first = days.filter_map(|it| it.keys().next()).min();
        let samples: usize = state.series.values().map(|it| it.samples.0.len()).sum();
        Ok(Usage {
            bytes: (samples * size_of::<Sample>()) as u64,
            floors: state.floors,
            first_day: first.map(|ts| self.zone.day_of(*ts)),
        })
    }

    async fn series(&self) -> Result<Vec<SeriesId>, PortError> {
        let state = self.state();
        let live = state
            .series
            .iter()
            .filter(|(_, it)| !it.samples.0.is_empty());
        Ok(live.map(|(series, _)| *series).collect())
    }

    async fn expirable(&self, tier: Tier, before: Timestamp) -> Result<u64, PortError> {
        let state = self.state();
        let rows = state.series.values().map(|it| it.expirable(tier, before));
        Ok(rows.sum::<usize>() as u64)
    }

    async fn expire(
        &self,
        tier: Tier,
        before: Timestamp,
        limit: u64,
    ) -> Result<Expired, PortError> {
        let mut state = self.state();
        let floor = match tier {
            Tier::Raw => &mut state.floors.raw,
            Tier::Minute => &mut state.floors.minute,
        };
        *floor = (*floor).max(Some(before));
        let mut expired = Expired::default();
        for kept in state.series.values_mut() {
            while expired.rows < limit && kept.expire_one(tier, before) {
                expired.rows += 1;
            }
        }
        expired.done = expired.rows < limit;
        Ok(expired)
    }

    async fn rebuild(&self, series: SeriesId, day: LocalDay) -> Result<Rebuilt, PortError> {
        let mut state = self.state();
        let range = self.zone.range_of(day);
        if state.floors.raw.is_some_and(|floor| range.start < floor) {
            return Ok(Rebuilt::default());
        }
        let Some(kept) = state.series.get_mut(&series) else {
            return Ok(Rebuilt::default());
        };
        let Ok(minutes) = rebuild(&mut kept.samples, &range);
        let mut rebuilt = Rebuilt {
            minutes: minutes.len(),
            corrected: 0,
        };
        for (level, buckets) in self.levels(&minutes) {
            let kept = kept.levels.entry(level).or_default();
            let was: BTreeMap<_, _> = kept.range(range.clone()).map(|(k, v)| (*k, *v)).collect();
            let is: BTreeMap<_, _> = buckets.iter().map(|at| (at.start, at.bucket)).collect();
            rebuilt.corrected += is.iter().filter(|(ts, it)| was.get(ts) != Some(it)).count();
            rebuilt.corrected += was.keys().filter(|ts| !is.contains_key(ts)).count();
            kept.retain(|ts, _| !range.contains(ts));
            kept.extend(is);
        }
        Ok(rebuilt)
    }
}

impl Kept {
    fn of(&self, level: Level, range: &Range<Timestamp>) -> impl Iterator<Item = BucketAt> {
        let buckets = self.levels.get(&level).into_iter().flatten();
        let inside = buckets.filter(|(start, it)| range.contains(start) && !it.is_empty());
        inside.map(|(start, bucket)| BucketAt {
            start: *start,
            bucket: *bucket,
        })
    }

    /// Where the rows of `tier` that go before `before` end.
    fn expiry(&self, tier: Tier, before: Timestamp) -> Timestamp {
        match tier {
            Tier::Minute => before,
            Tier::Raw => match self.samples.0.range(..before).next_back() {
                Some((newest, _)) => Timestamp::from_millis(newest.as_millis() - GAP_MS),
                None => before,
            },
        }
    }

    fn expirable(&self, tier: Tier, before: Timestamp) -> usize {
        let end = self.expiry(tier, before);
        match tier {
            Tier::Raw => self.samples.0.range(..end).count(),
            Tier::Minute => match self.levels.get(&Level::Minute) {
                Some(minutes) => minutes.range(..end).count(),
                None => 0,
            },
        }
    }

    fn expire_one(&mut self, tier: Tier, before: Timestamp) -> bool {
        let end = self.expiry(tier, before);
        match tier {
            Tier::Raw => pop_before(&mut self.samples.0, end),
            Tier::Minute => pop_before(self.levels.entry(Level::Minute).or_default(), end),
        }
    }
}

fn pop_before<T>(rows: &mut BTreeMap<Timestamp, T>, end: Timestamp) -> bool {
    let old = rows.first_key_value().is_some_and(|(ts, _)| *ts < end);
    old && rows.pop_first().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_history_contract() {
        crate::contract::history_store(|zone| async { MemoryHistory::new(zone) }).await;
    }
}
