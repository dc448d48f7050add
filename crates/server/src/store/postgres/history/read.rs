//! Reading one series: what the tables hold and what the tails add to it, in one
//! statement, so that both are of one moment.

use std::ops::Range;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{Floors, PeriodSince, SeriesId};
use dormouse_core::ports::journal::{JournalPosition, Progress};
use dormouse_core::rollup::{BucketAt, Level, Tail, add_up};
use dormouse_core::sample::Sample;
use dormouse_core::site::Days;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::super::convert::{Moment, key_from, key_sql, limit};
use super::super::pool::{get, in_time};
use super::PostgresHistory;
use super::columns::{BUCKET_ARRAYS, SAMPLE_ARRAYS, bound, buckets, samples};
use super::hold::read_floors;
use super::levels::{day, quarter_start, table, time_column};

/// Columns before the arrays of a bucket's statement.
const HEAD: usize = 3;

impl PostgresHistory {
    pub(super) async fn read_floors(&self) -> Result<Floors, PortError> {
        let sql = "SELECT name, value FROM history_facts";
        Ok(read_floors(&self.db.query(sql, &[]).await?))
    }

    pub(super) async fn read_samples(
        &self,
        series: SeriesId,
        range: Range<Timestamp>,
        most: usize,
    ) -> Result<Vec<Sample>, PortError> {
        let floor = self.read_floors().await?.raw;
        let start = floor.map_or(range.start, |floor| floor.max(range.start));
        if start >= range.end {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {SAMPLE_ARRAYS} FROM (SELECT * FROM samples \
                WHERE device = $1 AND socket = $2 AND ts >= $3 AND ts < $4 \
                ORDER BY ts LIMIT $5) AS s"
        );
        let client = self.db.connection().await?;
        let values: [(&(dyn ToSql + Sync), Type); 5] = [
            (&key_sql(series.device), Type::INT4),
            (&i16::from(series.socket.get()), Type::INT2),
            (&bound(start), Type::TIMESTAMPTZ),
            (&bound(range.end), Type::TIMESTAMPTZ),
            (&limit(most), Type::INT8),
        ];
        let row = ask_once(&client, &sql, &values).await?;
        let mut found = samples(&row, 0, series.socket)?;
        if !found.is_sorted_by_key(|it| it.ts) {
            found.sort_by_key(|it| it.ts);
        }
        Ok(found)
    }

    /// The buckets of one series that start in `range`.
    pub(super) async fn read_buckets(
        &self,
        series: SeriesId,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<BucketAt>, PortError> {
        let range = self.seen(level, range).await?;
        let client = self.db.connection().await?;
        self.buckets_on(&client, series, level, range).await
    }

    /// The part of `range` that retention has not hidden.
    pub(super) async fn seen(
        &self,
        level: Level,
        mut range: Range<Timestamp>,
    ) -> Result<Range<Timestamp>, PortError> {
        if level == Level::Minute
            && let Some(floor) = self.read_floors().await?.minute
        {
            range.start = range.start.max(floor);
        }
        Ok(range)
    }

    /// The same on a connection at hand, be it hidden or not.
    pub(super) async fn buckets_on(
        &self,
        client: &Client,
        series: SeriesId,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<BucketAt>, PortError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let (from, until) = self.bounds(level, &range);
        let sql = format!(
            "SELECT (SELECT tail FROM intake WHERE device = $1), {}, {BUCKET_ARRAYS} \
             FROM {} AS b WHERE b.device = $1 AND b.socket = $2 AND {}",
            key_arrays(level),
            table(level),
            between(level, "$3", "$4"),
        );
        let values: [(&(dyn ToSql + Sync), Type); 4] = [
            (&key_sql(series.device), Type::INT4),
            (&i16::from(series.socket.get()), Type::INT2),
            (&*from, key_type(level)),
            (&*until, key_type(level)),
        ];
        let row = ask_once(client, &sql, &values).await?;
        let mut kept = self.bucket_rows(level, &row)?;
        kept.retain(|at| range.contains(&at.start));
        kept.sort_by_key(|at| at.start);
        let tail = read_tail(&row, 0, series.device)?;
        if let Some(tail) = tail.get(series.socket) {
            let mut days = Days::new(self.zone.clone());
            let pending = level.of_minutes(tail.pending.as_slice(), &mut days);
            add_up(&mut kept, &pending, &range);
        }
        kept.retain(|at| !at.bucket.is_empty());
        Ok(kept)
    }

    /// `range` as the level's own bounds: moments, or numbers of days.
    pub(super) fn bounds(
        &self,
        level: Level,
        range: &Range<Timestamp>,
    ) -> (Box<dyn ToSql + Sync + Send>, Box<dyn ToSql + Sync + Send>) {
        let (from, until) = (bound(range.start), bound(range.end));
        match level {
            Level::Minute | Level::Quarter => (Box::new(from), Box::new(until)),
            Level::Day => (
                Box::new(self.zone.day_of(from.0).number()),
                Box::new(self.zone.day_of(until.0).number()),
            ),
        }
    }

    fn bucket_rows(&self, level: Level, row: &Row) -> Result<Vec<BucketAt>, PortError> {
        let found = buckets(row, HEAD)?;
        let starts = self.starts(level, row)?;
        let pairs = starts.into_iter().zip(found);
        Ok(pairs
            .map(|(start, bucket)| BucketAt { start, bucket })
            .collect())
    }

    fn starts(&self, level: Level, row: &Row) -> Result<Vec<Timestamp>, PortError> {
        Ok(match level {
            Level::Minute => {
                let ts: Option<Vec<Moment>> = get(row, 1)?;
                ts.into_iter().flatten().map(|Moment(ts)| ts).collect()
            }
            Level::Quarter => {
                let hours: Option<Vec<Moment>> = get(row, 1)?;
                let quarters: Option<Vec<i16>> = get(row, 2)?;
                let pairs = hours
                    .into_iter()
                    .flatten()
                    .zip(quarters.into_iter().flatten());
                pairs
                    .map(|(hour, number)| quarter_start(hour, number))
                    .collect()
            }
            Level::Day => {
                let days: Option<Vec<i32>> = get(row, 1)?;
                let start = |number| self.zone.start_of(day(number));
                days.into_iter().flatten().map(start).collect()
            }
        })
    }

    pub(super) async fn read_progress(&self) -> Result<Option<Progress>, PortError> {
        let sql = "SELECT journal, byte FROM journals ORDER BY written_at DESC LIMIT 1";
        let Some(row) = self.db.query_opt(sql, &[]).await? else {
            return Ok(None);
        };
        let sql = "SELECT device, inbox FROM intake WHERE inbox IS NOT NULL ORDER BY device";
        let rows = self.db.query(sql, &[]).await?;
        let inboxes = rows.iter().map(|row| {
            let inbox: &[u8] = get(row, 1)?;
            Ok((key_from(get(row, 0)?), inbox.into()))
        });
        Ok(Some(Progress {
            position: position(&row)?,
            inboxes: inboxes.collect::<Result<_, PortError>>()?,
        }))
    }

    pub(super) async fn read_periods(
        &self,
        devices: &[DeviceKey],
    ) -> Result<Vec<(DeviceKey, PeriodSince)>, PortError> {
        let keys: Vec<i32> = devices.iter().copied().map(key_sql).collect();
        let sql = "SELECT device, since, period_ms FROM periods WHERE device = ANY($1) \
            ORDER BY device, since";
        let rows = self.db.query(sql, &[&keys]).await?;
        let read = |row: &Row| {
            let period_ms: Option<i64> = get(row, 2)?;
            let period = PeriodSince {
                since: Timestamp::from_millis(get(row, 1)?),
                period_ms: period_ms.and_then(|ms| u64::try_from(ms).ok()),
            };
            Ok((key_from(get(row, 0)?), period))
        };
        rows.iter().map(read).collect()
    }
}

/// Runs a statement that is planned for its values, so that it looks only
/// into the parts that they name.
async fn ask_once(
    client: &Client,
    sql: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Row, PortError> {
    in_time(client.query_typed_one(sql, values)).await
}

/// A journal's position from its two columns.
pub(super) fn position(row: &Row) -> Result<JournalPosition, PortError> {
    let (journal, byte): (i64, i64) = (get(row, 0)?, get(row, 1)?);
    Ok(JournalPosition {
        journal: journal.cast_unsigned(),
        offset: byte.cast_unsigned(),
    })
}

pub(super) fn read_tail(row: &Row, column: usize, device: DeviceKey) -> Result<Tail, PortError> {
    let bytes: Option<&[u8]> = get(row, column)?;
    Tail::decode(bytes.unwrap_or_default()).ok_or_else(|| {
        PortError::Corrupt(format!(
            "column intake.tail of device {}: damaged, or of a newer version",
            device.0
        ))
    })
}

fn key_arrays(level: Level) -> &'static str {
    match level {
        Level::Minute => "array_agg(b.ts), NULL::int2[]",
        Level::Quarter => "array_agg(b.hour), array_agg(b.quarter)",
        Level::Day => "array_agg(b.day - date '1970-01-01'), NULL::int2[]",
    }
}

pub(super) const fn key_type(level: Level) -> Type {
    match level {
        Level::Minute | Level::Quarter => Type::TIMESTAMPTZ,
        Level::Day => Type::INT4,
    }
}

/// The condition that a bucket starts in a range, or a little outside.
pub(super) fn between(level: Level, from: &str, until: &str) -> String {
    let column = time_column(level);
    match level {
        Level::Minute => format!("b.{column} >= {from} AND b.{column} < {until}"),
        // The hour of the first quarter may start before it.
        Level::Quarter => {
            format!("b.{column} > {from}::timestamptz - interval '1 hour' AND b.{column} < {until}")
        }
        Level::Day => {
            format!("b.{column} BETWEEN date '1970-01-01' + {from} AND date '1970-01-01' + {until}")
        }
    }
}
