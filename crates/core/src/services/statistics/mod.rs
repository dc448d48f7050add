//! Energy of the fleet: today, in all, and by place or device over time.

mod completeness;
mod grouping;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub use completeness::HourCompleteness;
pub use grouping::Grouping;

use crate::clock::{Clock, Instant, Timestamp};
use crate::directory::Directory;
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::history::{FleetEnergy, HistoryStore};
use crate::rollup::Level;
use crate::services::history::{HistoryError, InvalidRange, check_range};
use crate::site::{LocalDay, SiteZone};

/// How long an answer about today serves whoever asks again.
const TODAY_FOR: Duration = Duration::from_secs(5);
/// How long the sum of all days before today does; only late samples change it.
const BEFORE_FOR: Duration = Duration::from_secs(3_600);
/// The days whose hours one answer covers at most.
const HOURS_REACH_DAYS: u64 = 2;
/// The days that one answer covers at most.
const DAYS_REACH: u64 = 732;
/// Days read at once, to bound the memory of an answer.
const DAYS_AT_ONCE: i32 = 31;
/// Hours read at once.
const HOURS_AT_ONCE: u64 = 6;
const DAY_S: u64 = 24 * 3_600;

/// Energy of the fleet since local midnight.
#[derive(Debug, Clone, PartialEq)]
pub struct EnergyToday {
    /// Of all devices, Wh.
    pub today_wh: f64,
    /// When today began.
    pub since: Timestamp,
    /// Of each device, Wh.
    pub devices: HashMap<DeviceKey, f64>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnergyQuery {
    /// The first moment; a day before `to` where not said.
    pub from: Option<Timestamp>,
    /// The moment after the last; now where not said.
    pub to: Option<Timestamp>,
    /// What is added up.
    pub by: Grouping,
    /// Hours rather than days; chosen where not said.
    pub hours: Option<bool>,
}

/// Energy by group and time.
#[derive(Debug, Clone, PartialEq)]
pub struct EnergyTable {
    /// The range in full buckets.
    pub range: Range<Timestamp>,
    /// Hours rather than days.
    pub hours: bool,
    /// The groups in order of their names; `None` for devices without a place,
    /// or that are no more.
    pub groups: BTreeMap<Option<String>, EnergyRow>,
}

/// One group of an [`EnergyTable`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EnergyRow {
    /// Over the whole range, Wh.
    pub total_wh: f64,
    /// By start of the bucket, Wh.
    pub points: BTreeMap<Timestamp, f64>,
}

/// Answers questions about the fleet's energy.
pub struct Statistics {
    store: Arc<dyn HistoryStore>,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    zone: SiteZone,
    today: tokio::sync::Mutex<Option<(Instant, Arc<EnergyToday>)>>,
    before: tokio::sync::Mutex<Option<Before>>,
    noted: tokio::sync::Mutex<HashMap<DeviceKey, Option<u64>>>,
}

/// The energy of all days before one, as of a moment.
struct Before {
    at: Instant,
    day: LocalDay,
    sum_wh: f64,
}

impl fmt::Debug for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statistics")
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

impl Statistics {
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
            today: tokio::sync::Mutex::default(),
            before: tokio::sync::Mutex::default(),
            noted: tokio::sync::Mutex::default(),
        }
    }

    /// Energy since local midnight. Read at most every [`TODAY_FOR`]; who
    /// asks meanwhile shares the answer.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn today(&self) -> Result<Arc<EnergyToday>, PortError> {
        let mut cached = self.today.lock().await;
        let (now, instant) = (self.clock.now(), self.clock.instant());
        let day = self.zone.day_of(now);
        let since = self.zone.start_of(day);
        if let Some((at, today)) = &*cached
            && instant.since(*at) < TODAY_FOR
            && today.since == since
        {
            return Ok(Arc::clone(today));
        }
        let rows = self
            .store
            .fleet_energy(Level::Day, self.zone.range_of(day))
            .await?;
        let mut devices = HashMap::new();
        for (device, _, energy_wh) in whole_devices(&rows) {
            devices.insert(device, energy_wh);
        }
        let today_wh = devices.values().sum();
        let today = Arc::new(EnergyToday {
            today_wh,
            since,
            devices,
        });
        *cached = Some((instant, Arc::clone(&today)));
        Ok(today)
    }

    /// Energy since the beginning, Wh.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn total_wh(&self) -> Result<f64, PortError> {
        let today = self.today().await?;
        let before_wh = self.before_wh(self.zone.day_of(today.since)).await?;
        Ok(before_wh + today.today_wh)
    }

    async fn before_wh(&self, today: LocalDay) -> Result<f64, PortError> {
        let mut cached = self.before.lock().await;
        let at = self.clock.instant();
        if let Some(before) = &*cached
            && at.since(before.at) < BEFORE_FOR
            && before.day == today
        {
            return Ok(before.sum_wh);
        }
        let mut sum_wh = 0.0;
        let mut start = self.zone.day_of(crate::ports::history::EARLIEST);
        while start < today {
            let end = start.plus(DAYS_AT_ONCE).min(today);
            let range = self.zone.start_of(start)..self.zone.start_of(end);
            let rows = self.store.fleet_energy(Level::Day, range).await?;
            sum_wh += whole_devices(&rows).map(|(_, _, wh)| wh).sum::<f64>();
            start = end;
        }
        *cached = Some(Before {
            at,
            day: today,
            sum_wh,
        });
        Ok(sum_wh)
    }

    /// Energy by group and hour or day.
    ///
    /// # Errors
    /// When the range cannot be answered or the store fails.
    pub async fn energy(&self, query: EnergyQuery) -> Result<EnergyTable, HistoryError> {
        let asked = check_range(query.from, query.to, self.clock.now())?;
        let (range, hours) = self.reach(&asked, query.hours)?;
        let groups = query.by.groups(&self.directory.all());
        let mut table = EnergyTable {
            range: range.clone(),
            hours,
            groups: BTreeMap::new(),
        };
        let level = if hours { Level::Quarter } else { Level::Day };
        let mut start = range.start;
        while start < range.end {
            let end = self.part_end(start, hours).min(range.end);
            let rows = self.store.fleet_energy(level, start..end).await?;
            for (device, ts, energy_wh) in whole_devices(&rows) {
                let group = groups.get(&device).cloned();
                let row = table.groups.entry(group).or_default();
                let bucket = if hours { self.zone.hour_start(ts) } else { ts };
                row.total_wh += energy_wh;
                *row.points.entry(bucket).or_insert(0.0) += energy_wh;
            }
            start = end;
        }
        Ok(table)
    }

    /// The range in full buckets, and whether they are hours.
    fn reach(
        &self,
        asked: &Range<Timestamp>,
        hours: Option<bool>,
    ) -> Result<(Range<Timestamp>, bool), InvalidRange> {
        let length = asked.end.since(asked.start);
        let reach = Duration::from_secs(HOURS_REACH_DAYS * DAY_S);
        let hours = hours.unwrap_or(length <= reach);
        let (field, days) = match hours {
            true => ("resolution", HOURS_REACH_DAYS),
            false => ("from", DAYS_REACH),
        };
        if length > Duration::from_secs(days * DAY_S) {
            let name = if hours { "hour" } else { "day" };
            return Err(InvalidRange {
                field,
                rule: format!("the fleet's energy by {name} covers at most {days} days at once"),
            });
        }
        let start = if hours {
            self.zone.hour_start(asked.start)
        } else {
            self.zone.start_of(self.zone.day_of(asked.start))
        };
        Ok((start..asked.end, hours))
    }

    fn part_end(&self, start: Timestamp, hours: bool) -> Timestamp {
        if hours {
            start + Duration::from_secs(HOURS_AT_ONCE * 3_600)
        } else {
            let end = self.zone.day_of(start).plus(DAYS_AT_ONCE);
            self.zone.start_of(end)
        }
    }
}

/// The energy of each device and bucket: what the meter of the whole strip
/// says where there is one, else the sum of its sockets. `rows` are in order
/// of series, then time.
fn whole_devices(rows: &[FleetEnergy]) -> impl Iterator<Item = (DeviceKey, Timestamp, f64)> {
    rows.chunk_by(|a, b| a.series.device == b.series.device)
        .flat_map(|device| {
            let strip = device.partition_point(|it| it.series.socket.is_strip());
            let (strip, sockets) = device.split_at(strip);
            let mut whole: BTreeMap<Timestamp, f64> = BTreeMap::new();
            for it in sockets {
                *whole.entry(it.start).or_insert(0.0) += it.energy_wh;
            }
            whole.extend(strip.iter().map(|it| (it.start, it.energy_wh)));
            let key = device[0].series.device;
            whole.into_iter().map(move |(start, wh)| (key, start, wh))
        })
}

#[cfg(test)]
mod tests;
