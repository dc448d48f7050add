//! Rows of history's tables, read and written one by one.

use dormouse_core::clock::Timestamp;
use dormouse_core::rollup::{Bucket, BucketAt, Energy, Level};
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::Days;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::keys::{SeriesKey, Unit};

const SAMPLE_COLUMNS: usize = 5;
/// What voltages are kept as differences from, 0.1 V.
const NOMINAL_DV: i32 = 2_300;

/// Adds to a bucket, or makes it. Extremes take whichever side is not NULL.
macro_rules! concat_add {
    ($table:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
            ON CONFLICT (at) DO UPDATE SET
                count = count + excluded.count,
                covered_ms = covered_ms + excluded.covered_ms,
                power_dwms = power_dwms + excluded.power_dwms,
                power_min_dw = min(ifnull(power_min_dw, excluded.power_min_dw),
                                   ifnull(excluded.power_min_dw, power_min_dw)),
                power_max_dw = max(ifnull(power_max_dw, excluded.power_max_dw),
                                   ifnull(excluded.power_max_dw, power_max_dw)),
                metered_dwh = metered_dwh + excluded.metered_dwh,
                bridged_dwh = bridged_dwh + excluded.bridged_dwh,
                reset_dwh = reset_dwh + excluded.reset_dwh,
                rolled_back_dwh = rolled_back_dwh + excluded.rolled_back_dwh,
                implausible_dwh = implausible_dwh + excluded.implausible_dwh,
                integrated_dwms = integrated_dwms + excluded.integrated_dwms"
        )
    };
}

/// Reads the measurements that start at column `from`.
pub(super) fn values(row: &Row<'_>, from: usize) -> rusqlite::Result<Values> {
    Ok(Values {
        power_dw: row.get(from)?,
        voltage_dv: row.get(from + 1)?,
        current_ma: row.get(from + 2)?,
        energy_dwh: row.get(from + 3)?,
        power_factor_centi: row.get(from + SAMPLE_COLUMNS - 1)?,
    })
}

/// A row of `samples`.
pub(super) fn sample(row: &Row<'_>) -> rusqlite::Result<Sample> {
    let (series, ts) = SeriesKey::of_sample(row.get(0)?);
    let mut values = values(row, 1)?;
    values.voltage_dv = values.voltage_dv.map(|off| off.saturating_add(NOMINAL_DV));
    Ok(Sample {
        socket: series.id().socket,
        ts,
        values,
    })
}

/// Adds rows to `samples`, which must not hold them yet.
pub(super) fn insert_samples(
    db: &Connection,
    series: SeriesKey,
    samples: &[Sample],
) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO samples VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for sample in samples {
        let it = &sample.values;
        insert.execute(params![
            series.sample(sample.ts),
            it.power_dw,
            it.voltage_dv.map(|dv| dv.saturating_sub(NOMINAL_DV)),
            it.current_ma,
            it.energy_dwh,
            it.power_factor_centi,
        ])?;
    }
    Ok(())
}

/// Adds rows to `recent`.
pub(super) fn insert_recent(
    db: &Connection,
    series: SeriesKey,
    samples: &[Sample],
) -> rusqlite::Result<()> {
    let mut insert =
        db.prepare_cached("INSERT INTO recent VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let id = series.id();
    for sample in samples {
        let it = &sample.values;
        insert.execute(params![
            id.device.0,
            id.socket.get(),
            sample.ts.as_millis(),
            it.power_dw,
            it.voltage_dv,
            it.current_ma,
            it.energy_dwh,
            it.power_factor_centi,
        ])?;
    }
    Ok(())
}

/// Every row of `recent`, by series and time.
pub(super) fn recent(db: &Connection) -> rusqlite::Result<Vec<DeviceSample>> {
    let mut rows = db.prepare("SELECT * FROM recent ORDER BY device, socket, ts")?;
    let rows = rows.query_map([], |row| {
        let socket: u8 = row.get(2)?;
        Ok(DeviceSample {
            device: dormouse_core::ids::DeviceKey(row.get(1)?),
            sample: Sample {
                socket: u64::from(socket).try_into().unwrap_or_default(),
                ts: Timestamp::from_millis(row.get(3)?),
                values: values(row, 4)?,
            },
        })
    })?;
    rows.collect()
}

/// The table of a level.
pub(super) const fn table(level: Level) -> &'static str {
    match level {
        Level::Minute => "minutes",
        Level::Quarter => "quarters",
        Level::Day => "days",
    }
}

/// Reads the bucket that starts at column 1.
pub(super) fn bucket(row: &Row<'_>) -> rusqlite::Result<Bucket> {
    Ok(Bucket {
        count: row.get(1)?,
        covered_ms: row.get(2)?,
        power_dwms: row.get(3)?,
        power_min_dw: row.get(4)?,
        power_max_dw: row.get(5)?,
        energy: Energy {
            metered_dwh: row.get(6)?,
            bridged_dwh: row.get(7)?,
            reset_dwh: row.get(8)?,
            rolled_back_dwh: row.get(9)?,
            implausible_dwh: row.get(10)?,
            integrated_dwms: row.get(11)?,
        },
    })
}

/// Adds a difference to each of one series' buckets of `level`.
pub(super) fn add_buckets(
    db: &Connection,
    series: SeriesKey,
    level: Level,
    buckets: &[BucketAt],
    days: &mut Days,
) -> rusqlite::Result<()> {
    let mut add = db.prepare_cached(match level {
        Level::Minute => concat_add!("minutes"),
        Level::Quarter => concat_add!("quarters"),
        Level::Day => concat_add!("days"),
    })?;
    for at in buckets {
        let key = bucket_key(series, level, at.start, days);
        let it = &at.bucket;
        add.execute(params![
            key,
            it.count,
            it.covered_ms,
            it.power_dwms,
            it.power_min_dw,
            it.power_max_dw,
            it.energy.metered_dwh,
            it.energy.bridged_dwh,
            it.energy.reset_dwh,
            it.energy.rolled_back_dwh,
            it.energy.implausible_dwh,
            it.energy.integrated_dwms,
        ])?;
    }
    Ok(())
}

/// The key of the bucket of `level` that starts at `start`.
pub(super) fn bucket_key(
    series: SeriesKey,
    level: Level,
    start: Timestamp,
    days: &mut Days,
) -> i64 {
    match Unit::of(level) {
        Some(unit) => series.bucket(unit, start),
        None => series.day(days.day_of(start).0),
    }
}

/// A single number that is kept.
pub(super) fn fact(db: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT value FROM facts WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Keeps a single number.
pub(super) fn set_fact(db: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO facts VALUES (?1, ?2)")?
        .execute(params![name, value])
        .map(drop)
}
