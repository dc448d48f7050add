//! The rollup tables: one per level, alike but for their keys.

use std::sync::LazyLock;

use dormouse_core::clock::Timestamp;
use dormouse_core::rollup::{Level, QUARTER_MS};
use dormouse_core::site::{Days, LocalDay};
use tokio_postgres::types::ToSql;

use super::super::convert::Moment;
use super::columns::{BUCKET_COLUMNS, BucketColumns};

/// Milliseconds in an hour.
const HOUR_MS: i64 = 4 * QUARTER_MS;

/// The statements of one level.
#[derive(Debug)]
pub(super) struct Statements {
    /// Adds differences, or makes the buckets.
    pub(super) add: String,
    /// Removes the buckets of one series that start in a range.
    pub(super) remove: String,
}

static STATEMENTS: LazyLock<[Statements; 3]> = LazyLock::new(|| Level::ALL.map(Statements::of));

/// The statements of `level`.
pub(super) fn statements(level: Level) -> &'static Statements {
    match level {
        Level::Minute => &STATEMENTS[0],
        Level::Quarter => &STATEMENTS[1],
        Level::Day => &STATEMENTS[2],
    }
}

/// The table of `level`.
pub(super) const fn table(level: Level) -> &'static str {
    match level {
        Level::Minute => "minutes",
        Level::Quarter => "quarters",
        Level::Day => "days",
    }
}

/// The column that says when a bucket starts; quarters have their number in
/// the hour beside it, days are dates.
pub(super) const fn time_column(level: Level) -> &'static str {
    match level {
        Level::Minute => "ts",
        Level::Quarter => "hour",
        Level::Day => "day",
    }
}

impl Statements {
    fn of(level: Level) -> Self {
        let table = table(level);
        let (key, types, select) = match level {
            Level::Minute => ("ts", "$3::timestamptz[]", "it.ts"),
            Level::Quarter => (
                "hour, quarter",
                "$3::timestamptz[], $4::int2[]",
                "it.hour, it.quarter",
            ),
            Level::Day => ("day", "$3::int4[]", "date '1970-01-01' + it.day"),
        };
        let first = if level == Level::Quarter { 5 } else { 4 };
        let arrays: Vec<String> = ["int4"; 4]
            .iter()
            .chain(&["int8"; 7])
            .enumerate()
            .map(|(n, kind)| format!("${}::{kind}[]", n + first))
            .collect();
        let sums = [
            "count",
            "covered_ms",
            "power_dwms",
            "metered_dwh",
            "bridged_dwh",
            "reset_dwh",
        ];
        let sums = sums.map(|it| format!("{it} = was.{it} + excluded.{it}"));
        // A device that talks nonsense all day must not overflow a column.
        let bounded = ["rolled_back_dwh", "implausible_dwh", "integrated_dwms"].map(|it| {
            format!("{it} = least(greatest(was.{it}::numeric + excluded.{it}, -9e18), 9e18)::int8")
        });
        let sums = [&sums[..], &bounded[..]].concat();
        // A day starts and ends with an hour's quarter, whatever the zone.
        let range = match level {
            Level::Minute => "ts >= $3 AND ts < $4",
            Level::Quarter => {
                "hour >= $3::timestamptz - interval '1 hour' AND hour < $4 \
                 AND hour + quarter * interval '15 minutes' >= $3 \
                 AND hour + quarter * interval '15 minutes' < $4"
            }
            Level::Day => {
                "day >= date '1970-01-01' + $3::int4 AND day < date '1970-01-01' + $4::int4"
            }
        };
        Self {
            add: format!(
                "INSERT INTO {table} AS was (device, socket, {key}, {BUCKET_COLUMNS}) \
                 SELECT it.device, it.socket, {select}, {BUCKET_COLUMNS} \
                 FROM unnest($1::int4[], $2::int2[], {types}, {}) \
                     AS it (device, socket, {key}, {BUCKET_COLUMNS}) \
                 ON CONFLICT (device, socket, {key}) DO UPDATE SET {}, \
                     power_min_dw = least(was.power_min_dw, excluded.power_min_dw), \
                     power_max_dw = greatest(was.power_max_dw, excluded.power_max_dw)",
                arrays.join(", "),
                sums.join(", "),
            ),
            remove: format!("DELETE FROM {table} WHERE device = $1 AND socket = $2 AND {range}",),
        }
    }
}

/// The keys of buckets, as the tables have them.
#[derive(Debug)]
pub(super) enum Keys {
    Minutes(Vec<Moment>),
    Quarters(Vec<Moment>, Vec<i16>),
    Days(Vec<i32>),
}

impl Keys {
    pub(super) fn of(level: Level, starts: &[Timestamp], days: &mut Days) -> Self {
        match level {
            Level::Minute => Self::Minutes(starts.iter().copied().map(Moment).collect()),
            Level::Quarter => {
                let (hours, quarters) = starts.iter().map(|ts| quarter(*ts)).unzip();
                Self::Quarters(hours, quarters)
            }
            Level::Day => {
                let number = |ts: &Timestamp| days.day_of(*ts).0.number();
                Self::Days(starts.iter().map(number).collect())
            }
        }
    }
}

/// Every value of [`Statements::add`].
pub(super) fn values<'a>(
    columns: &'a BucketColumns,
    keys: &'a Keys,
) -> Vec<&'a (dyn ToSql + Sync)> {
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![&columns.device, &columns.socket];
    match keys {
        Keys::Minutes(ts) => values.push(ts),
        Keys::Quarters(hours, quarters) => values.extend([
            hours as &(dyn ToSql + Sync),
            quarters as &(dyn ToSql + Sync),
        ]),
        Keys::Days(days) => values.push(days),
    }
    values.extend(columns.values());
    values
}

fn quarter(ts: Timestamp) -> (Moment, i16) {
    let in_hour = ts.as_millis().rem_euclid(HOUR_MS);
    let hour = Timestamp::from_millis(ts.as_millis() - in_hour);
    (
        Moment(hour),
        i16::try_from(in_hour / QUARTER_MS).unwrap_or_default(),
    )
}

/// When the quarter-hour starts.
pub(super) fn quarter_start(Moment(hour): Moment, quarter: i16) -> Timestamp {
    Timestamp::from_millis(hour.as_millis() + i64::from(quarter) * QUARTER_MS)
}

/// The hour that holds `ts`.
pub(super) fn hour_of(ts: Timestamp) -> Timestamp {
    quarter(ts).0.0
}

/// The day with this number from its column.
pub(super) const fn day(number: i32) -> LocalDay {
    LocalDay::from_number(number)
}
