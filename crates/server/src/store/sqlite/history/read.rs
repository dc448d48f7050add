//! Reading history: what the tables hold and what is fresh, added up.

use std::ops::Range;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::history::{EARLIEST, FleetEnergy, Floors, PeriodSince};
use dormouse_core::rollup::{BucketAt, Level, add_up};
use dormouse_core::sample::Sample;
use dormouse_core::site::{LocalDay, SiteZone};
use rusqlite::{Connection, OptionalExtension, params};

use super::fresh::{Fresh, interleave, read_samples};
use super::keys::{SeriesKey, Unit, day_start};
use super::tables::{bucket, fact, table};

/// What is fresh of one series, copied before the tables are read.
#[derive(Debug, Default)]
pub(super) struct FreshPart<T> {
    generation: i64,
    part: Vec<T>,
}

impl<T> FreshPart<T> {
    pub(super) fn new(fresh: &Fresh, part: Vec<T>) -> Self {
        Self {
            generation: fresh.generation,
            part,
        }
    }

    /// The part, unless it is in the tables that `db` sees already.
    fn unless_moved(self, db: &Connection) -> rusqlite::Result<Vec<T>> {
        let generation = fact(db, "generation")?.unwrap_or(0);
        Ok(if generation == self.generation {
            self.part
        } else {
            Vec::new()
        })
    }
}

/// The first `limit` samples of `range`.
pub(super) fn samples(
    db: &Connection,
    series: SeriesKey,
    range: Range<Timestamp>,
    limit: usize,
    fresh: FreshPart<Sample>,
) -> rusqlite::Result<Vec<Sample>> {
    let snapshot = db.unchecked_transaction()?;
    let fresh = fresh.unless_moved(&snapshot)?;
    let floor = fact(&snapshot, "raw_floor")?.map_or(EARLIEST, Timestamp::from_millis);
    let from = range.start.max(floor);
    let kept = read_samples(&snapshot, series, from, range.end, limit)?;
    snapshot.commit()?;
    let inside = fresh.partition_point(|it| it.ts < from);
    let end = fresh.partition_point(|it| it.ts < range.end).max(inside);
    Ok(interleave(kept, &fresh[inside..end], limit))
}

/// The buckets of one series that start in `range`.
pub(super) fn buckets(
    db: &Connection,
    series: SeriesKey,
    level: Level,
    range: Range<Timestamp>,
    zone: &SiteZone,
    fresh: FreshPart<BucketAt>,
) -> rusqlite::Result<Vec<BucketAt>> {
    let snapshot = db.unchecked_transaction()?;
    let fresh = fresh.unless_moved(&snapshot)?;
    let mut kept = match Unit::of(level) {
        Some(unit) => unit_buckets(&snapshot, series, level, unit, &range)?,
        None => day_buckets(&snapshot, series, &range, zone)?,
    };
    snapshot.commit()?;
    add_up(&mut kept, &fresh, &range);
    Ok(kept)
}

pub(super) fn unit_buckets(
    db: &Connection,
    series: SeriesKey,
    level: Level,
    unit: Unit,
    range: &Range<Timestamp>,
) -> rusqlite::Result<Vec<BucketAt>> {
    let sql = format!(
        "SELECT * FROM {} WHERE at >= ?1 AND at < ?2 ORDER BY at",
        table(level)
    );
    let bounds = [
        series.bucket(unit, range.start),
        series.bucket(unit, range.end),
    ];
    let mut rows = db.prepare_cached(&sql)?;
    let rows = rows.query_map(bounds, |row| {
        Ok(BucketAt {
            start: SeriesKey::of_bucket(unit, row.get(0)?).1,
            bucket: bucket(row)?,
        })
    })?;
    rows.collect()
}

pub(super) fn day_buckets(
    db: &Connection,
    series: SeriesKey,
    range: &Range<Timestamp>,
    zone: &SiteZone,
) -> rusqlite::Result<Vec<BucketAt>> {
    let mut one = db.prepare_cached("SELECT * FROM days WHERE at = ?1")?;
    let mut buckets = Vec::new();
    let first = match first_day(db)? {
        Some(first) => first.max(zone.day_of(range.start)),
        None => return Ok(buckets),
    };
    let last = last_day(db)?.map_or(first, |it| it.min(zone.day_of(range.end)));
    let mut day = first;
    while day <= last {
        let found = one.query_row([series.day(day)], bucket).optional()?;
        let start = zone.start_of(day);
        if let Some(bucket) = found.filter(|_| range.contains(&start)) {
            buckets.push(BucketAt { start, bucket });
        }
        day = day.plus(1);
    }
    Ok(buckets)
}

/// The buckets of every series that start in `range`.
pub(super) fn fleet(
    db: &Connection,
    level: Level,
    range: &Range<Timestamp>,
    zone: &SiteZone,
    fresh: FreshPart<FleetEnergy>,
) -> rusqlite::Result<Vec<FleetEnergy>> {
    let snapshot = db.unchecked_transaction()?;
    let fresh = fresh.unless_moved(&snapshot)?;
    let mut all = match Unit::of(level) {
        Some(unit) => fleet_units(&snapshot, level, unit, range)?,
        None => fleet_days(&snapshot, range, zone)?,
    };
    snapshot.commit()?;
    all.extend(fresh.into_iter().filter(|it| range.contains(&it.start)));
    all.sort_by_key(|it| (it.series, it.start));
    all.dedup_by(|later, earlier| {
        let same = later.series == earlier.series && later.start == earlier.start;
        if same {
            earlier.energy_wh += later.energy_wh;
        }
        same
    });
    Ok(all)
}

fn fleet_units(
    db: &Connection,
    level: Level,
    unit: Unit,
    range: &Range<Timestamp>,
) -> rusqlite::Result<Vec<FleetEnergy>> {
    let next = format!(
        "SELECT at FROM {} WHERE at >= ?1 ORDER BY at LIMIT 1",
        table(level)
    );
    let mut next = db.prepare_cached(&next)?;
    let mut all = Vec::new();
    let mut from = Some(SeriesKey::FIRST);
    while let Some(series) = from {
        let key = series.bucket(unit, EARLIEST);
        let Some(found) = next.query_row([key], |row| row.get(0)).optional()? else {
            break;
        };
        let (series, _) = SeriesKey::of_bucket(unit, found);
        let buckets = unit_buckets(db, series, level, unit, range)?;
        all.extend(buckets.into_iter().map(|at| FleetEnergy {
            series: series.id(),
            start: at.start,
            energy_wh: at.bucket.energy.total_wh(),
        }));
        from = series.next();
    }
    Ok(all)
}

fn fleet_days(
    db: &Connection,
    range: &Range<Timestamp>,
    zone: &SiteZone,
) -> rusqlite::Result<Vec<FleetEnergy>> {
    let mut rows =
        db.prepare_cached("SELECT * FROM days WHERE at >= ?1 AND at < ?2 ORDER BY at")?;
    let bounds = [
        day_start(zone.day_of(range.start)),
        day_start(zone.day_of(range.end).plus(1)),
    ];
    let mut current: Option<(LocalDay, Timestamp)> = None;
    let rows = rows.query_map(bounds, |row| {
        let (series, day) = SeriesKey::of_day(row.get(0)?);
        let start = match current {
            Some((same, start)) if same == day => start,
            Some(_) | None => zone.start_of(day),
        };
        current = Some((day, start));
        Ok(FleetEnergy {
            series: series.id(),
            start,
            energy_wh: bucket(row)?.energy.total_wh(),
        })
    })?;
    let inside = |it: &rusqlite::Result<FleetEnergy>| match it {
        Ok(it) => range.contains(&it.start),
        Err(_) => true,
    };
    rows.filter(inside).collect()
}

/// How far back history reaches.
pub(super) fn floors(db: &Connection) -> rusqlite::Result<Floors> {
    let floor = |name| Ok::<_, rusqlite::Error>(fact(db, name)?.map(Timestamp::from_millis));
    Ok(Floors {
        raw: floor("raw_floor")?,
        minute: floor("minute_floor")?,
    })
}

/// The earliest local day with a rollup.
pub(super) fn first_day(db: &Connection) -> rusqlite::Result<Option<LocalDay>> {
    db.prepare_cached("SELECT at FROM days ORDER BY at LIMIT 1")?
        .query_row([], |row| Ok(SeriesKey::of_day(row.get(0)?).1))
        .optional()
}

fn last_day(db: &Connection) -> rusqlite::Result<Option<LocalDay>> {
    db.prepare_cached("SELECT at FROM days ORDER BY at DESC LIMIT 1")?
        .query_row([], |row| Ok(SeriesKey::of_day(row.get(0)?).1))
        .optional()
}

/// Every period noted for a device.
pub(super) fn periods(db: &Connection, device: DeviceKey) -> rusqlite::Result<Vec<PeriodSince>> {
    let mut rows =
        db.prepare_cached("SELECT since, period_ms FROM periods WHERE device = ?1 ORDER BY since")?;
    let rows = rows.query_map([device.0], |row| {
        let period_ms: Option<i64> = row.get(1)?;
        Ok(PeriodSince {
            since: Timestamp::from_millis(row.get(0)?),
            period_ms: period_ms.and_then(|ms| u64::try_from(ms).ok()),
        })
    })?;
    rows.collect()
}

/// Notes a period, unless it is in force already.
pub(super) fn note_period(
    db: &Connection,
    device: DeviceKey,
    period: PeriodSince,
) -> rusqlite::Result<()> {
    let since = period.since.as_millis();
    let before: Option<Option<u64>> = db
        .prepare_cached(
            "SELECT period_ms FROM periods WHERE device = ?1 AND since < ?2
             ORDER BY since DESC LIMIT 1",
        )?
        .query_row(params![device.0, since], |row| {
            let period_ms: Option<i64> = row.get(0)?;
            Ok(period_ms.and_then(|ms| u64::try_from(ms).ok()))
        })
        .optional()?;
    if before == Some(period.period_ms) && !noted_at(db, device, since)? {
        return Ok(());
    }
    let period_ms = period.period_ms.and_then(|ms| i64::try_from(ms).ok());
    db.prepare_cached("INSERT OR REPLACE INTO periods VALUES (?1, ?2, ?3)")?
        .execute(params![device.0, since, period_ms])
        .map(drop)
}

fn noted_at(db: &Connection, device: DeviceKey, since: i64) -> rusqlite::Result<bool> {
    db.prepare_cached("SELECT 1 FROM periods WHERE device = ?1 AND since = ?2")?
        .exists(params![device.0, since])
}
