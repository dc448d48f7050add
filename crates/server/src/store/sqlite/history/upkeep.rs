//! Keeping history in bounds and its rollups true, a small step at a time.

use std::ops::Range;

use dormouse_core::clock::Timestamp;
use dormouse_core::energy::GAP_MS;
use dormouse_core::ports::history::{EARLIEST, Expired, Rebuilt, SeriesId, Tier, Usage};
use dormouse_core::rollup::{BucketAt, Level, differing, rebuild};
use dormouse_core::site::{Days, SiteZone};
use rusqlite::{Connection, OptionalExtension, params};

use super::fresh::Rows;
use super::keys::{SeriesKey, Unit};
use super::read::{day_buckets, first_day, floors, unit_buckets};
use super::tables::{add_buckets, bucket, bucket_key, fact, set_fact, table};

/// How far a tier's expiry has come, so that the next step need not look again
/// at the series that are done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiring {
    tier: Tier,
    before: Timestamp,
    next: SeriesKey,
}

/// The first series at or after `from` that has a sample.
pub(super) fn next_series(db: &Connection, from: SeriesKey) -> rusqlite::Result<Option<SeriesKey>> {
    let mut next = db
        .prepare_cached("SELECT at FROM samples WHERE at >= ?1 AND at <= ?2 ORDER BY at LIMIT 1")?;
    let key = from.sample(EARLIEST);
    let find = |next: &mut rusqlite::CachedStatement<'_>, bounds: [i64; 2]| {
        next.query_row(bounds, |row| Ok(SeriesKey::of_sample(row.get(0)?).0))
            .optional()
    };
    if key < 0 {
        return find(&mut next, [key, -1]);
    }
    // The upper half of the series has the negative keys.
    match find(&mut next, [key, i64::MAX])? {
        Some(series) => Ok(Some(series)),
        None => find(&mut next, [i64::MIN, -1]),
    }
}

/// Every series with a sample in the tables.
pub(super) fn series(db: &Connection) -> rusqlite::Result<Vec<SeriesId>> {
    let mut all = Vec::new();
    let mut from = Some(SeriesKey::FIRST);
    while let Some(key) = from {
        let Some(found) = next_series(db, key)? else {
            break;
        };
        all.push(found.id());
        from = found.next();
    }
    Ok(all)
}

/// What the file takes, and reaches back to.
pub(super) fn usage(db: &Connection) -> rusqlite::Result<Usage> {
    let pragma = |name: &str| -> rusqlite::Result<u64> {
        let value: i64 = db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?;
        Ok(u64::try_from(value).unwrap_or(0))
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(Usage {
        bytes: pages * pragma("page_size")?,
        floors: floors(db)?,
        first_day: first_day(db)?,
    })
}

/// How many rows of `tier` would go.
pub(super) fn expirable(db: &Connection, tier: Tier, before: Timestamp) -> rusqlite::Result<u64> {
    let sql = format!(
        "SELECT count(*) FROM {} WHERE at >= ?1 AND at < ?2",
        rows_of(tier)
    );
    let mut count = db.prepare_cached(&sql)?;
    let mut rows = 0;
    for series in series_of_tier(db, tier)? {
        if let Some(range) = expiry(db, tier, series, before)? {
            let found: i64 = count.query_row([range.start, range.end], |row| row.get(0))?;
            rows += u64::try_from(found).unwrap_or(0);
        }
    }
    Ok(rows)
}

/// Drops at most `limit` rows of `tier`; takes up where `expiring` says.
pub(super) fn expire(
    db: &Connection,
    tier: Tier,
    before: Timestamp,
    limit: u64,
    expiring: &mut Option<Expiring>,
) -> rusqlite::Result<Expired> {
    let name = match tier {
        Tier::Raw => "raw_floor",
        Tier::Minute => "minute_floor",
    };
    let floor = fact(db, name)?.unwrap_or(i64::MIN);
    set_fact(db, name, floor.max(before.as_millis()))?;
    let mut next = match *expiring {
        Some(it) if it.tier == tier && it.before == before => Some(it.next),
        Some(_) | None => Some(SeriesKey::FIRST),
    };
    let mut expired = Expired::default();
    while let Some(from) = next {
        let Some(series) = next_of_tier(db, tier, from)? else {
            break;
        };
        let left = limit - expired.rows;
        expired.rows += expire_series(db, tier, series, before, left)?;
        if expired.rows >= limit {
            // This series may have more.
            *expiring = Some(Expiring {
                tier,
                before,
                next: series,
            });
            return Ok(expired);
        }
        next = series.next();
    }
    *expiring = None;
    expired.done = true;
    Ok(expired)
}

fn expire_series(
    db: &Connection,
    tier: Tier,
    series: SeriesKey,
    before: Timestamp,
    limit: u64,
) -> rusqlite::Result<u64> {
    let Some(range) = expiry(db, tier, series, before)? else {
        return Ok(0);
    };
    let rows = rows_of(tier);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    // Where the rows are more than the limit, the key of the first that stays.
    let cut: Option<i64> = db
        .prepare_cached(&format!(
            "SELECT at FROM {rows} WHERE at >= ?1 AND at < ?2 ORDER BY at LIMIT 1 OFFSET ?3"
        ))?
        .query_row([range.start, range.end, limit], |row| row.get(0))
        .optional()?;
    let end = cut.unwrap_or(range.end);
    let dropped = db
        .prepare_cached(&format!("DELETE FROM {rows} WHERE at >= ?1 AND at < ?2"))?
        .execute([range.start, end])?;
    Ok(dropped as u64)
}

/// The keys of one series that go; for samples all but those within
/// [`GAP_MS`] of the last one, which judge what comes next.
fn expiry(
    db: &Connection,
    tier: Tier,
    series: SeriesKey,
    before: Timestamp,
) -> rusqlite::Result<Option<Range<i64>>> {
    let start = match tier {
        Tier::Minute => {
            let unit = Unit::Minute;
            return Ok(Some(
                series.bucket(unit, EARLIEST)..series.bucket(unit, before),
            ));
        }
        Tier::Raw => series.sample(EARLIEST),
    };
    let last: Option<i64> = db
        .prepare_cached(
            "SELECT at FROM samples WHERE at >= ?1 AND at < ?2 ORDER BY at DESC LIMIT 1",
        )?
        .query_row([start, series.sample_end(before)], |row| row.get(0))
        .optional()?;
    Ok(last.map(|last| start..(last - GAP_MS).max(start)))
}

const fn rows_of(tier: Tier) -> &'static str {
    match tier {
        Tier::Raw => "samples",
        Tier::Minute => "minutes",
    }
}

fn next_of_tier(
    db: &Connection,
    tier: Tier,
    from: SeriesKey,
) -> rusqlite::Result<Option<SeriesKey>> {
    match tier {
        Tier::Raw => next_series(db, from),
        Tier::Minute => db
            .prepare_cached("SELECT at FROM minutes WHERE at >= ?1 ORDER BY at LIMIT 1")?
            .query_row([from.bucket(Unit::Minute, EARLIEST)], |row| {
                Ok(SeriesKey::of_bucket(Unit::Minute, row.get(0)?).0)
            })
            .optional(),
    }
}

fn series_of_tier(db: &Connection, tier: Tier) -> rusqlite::Result<Vec<SeriesKey>> {
    let mut all = Vec::new();
    let mut from = Some(SeriesKey::FIRST);
    while let Some(key) = from {
        let Some(found) = next_of_tier(db, tier, key)? else {
            break;
        };
        all.push(found);
        from = found.next();
    }
    Ok(all)
}

/// Derives the rollups of one series' `range`, one local day, again.
pub(super) fn rebuild_day(
    db: &Connection,
    series: SeriesKey,
    range: &Range<Timestamp>,
    zone: &SiteZone,
) -> rusqlite::Result<Rebuilt> {
    if fact(db, "raw_floor")?.is_some_and(|floor| range.start.as_millis() < floor) {
        return Ok(Rebuilt::default());
    }
    let minutes = rebuild(&mut Rows::kept(db, series), range)?;
    let mut rebuilt = Rebuilt {
        minutes: minutes.len(),
        corrected: 0,
    };
    let mut civil = Days::new(zone.clone());
    for level in Level::ALL {
        let is = level.of_minutes(&minutes, &mut civil);
        let was = match Unit::of(level) {
            Some(unit) => unit_buckets(db, series, level, unit, range)?,
            None => day_buckets(db, series, range, zone)?,
        };
        if was == is {
            continue;
        }
        rebuilt.corrected += differing(&was, &is);
        let sql = format!("DELETE FROM {} WHERE at = ?1", table(level));
        let mut delete = db.prepare_cached(&sql)?;
        for at in &was {
            delete.execute([bucket_key(series, level, at.start, &mut civil)])?;
        }
        add_buckets(db, series, level, &is, &mut civil)?;
    }
    Ok(rebuilt)
}

/// Derives the days again where the site's zone is not the one they were made
/// with; they are sums of quarter-hours, which are kept for ever.
pub(super) fn keep_zone(db: &Connection, zone: &SiteZone) -> rusqlite::Result<()> {
    let made_with: Option<String> = db
        .prepare_cached("SELECT value FROM facts WHERE name = 'zone'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if made_with.as_deref() == Some(zone.name()) {
        return Ok(());
    }
    if made_with.is_some() {
        db.execute_batch("DELETE FROM days")?;
        let mut civil = Days::new(zone.clone());
        let mut rows = db.prepare("SELECT * FROM quarters ORDER BY at")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (series, start) = SeriesKey::of_bucket(Unit::Quarter, row.get(0)?);
            let bucket = bucket(row)?;
            let at = BucketAt { start, bucket };
            add_buckets(db, series, Level::Day, &[at], &mut civil)?;
        }
    }
    db.prepare_cached("INSERT OR REPLACE INTO facts VALUES ('zone', ?1)")?
        .execute(params![zone.name()])
        .map(drop)
}
