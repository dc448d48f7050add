//! The parts of history's tables: partitions of PostgreSQL, which we make, or
//! chunks of TimescaleDB, which it makes itself. One is dropped as a whole.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use tokio_postgres::{Client, Error};

use super::super::convert::Moment;
use super::super::pool::{get, in_time};
use super::super::schema::Flavour;
use super::columns::bound;

const DAY_MS: i64 = 86_400_000;
/// What a partition of quarter-hours spans, as a chunk of them does.
const QUARTERS_DAYS: i64 = 28;
/// How long whoever wants a part for itself waits for others at a time: while
/// it waits, whoever comes after it waits, too.
pub(super) const EXCLUSIVE_WAIT_MS: u32 = 300;

/// Partitions that are known to be there. Another node may have dropped one;
/// a write into it then fails, and all are forgotten.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<(&'static str, i64)>>);

/// A partition or chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its table.
    pub(super) table: &'static str,
    /// Its own name, with schema and quotes where needed.
    pub(super) name: String,
    /// Its first moment.
    pub(super) from: Timestamp,
    /// The first moment after it.
    pub(super) until: Timestamp,
    /// Whether it is compressed.
    pub(super) is_compressed: bool,
}

/// Days that a part of `table` spans.
fn span_days(table: &str) -> i64 {
    if table == "quarters" {
        QUARTERS_DAYS
    } else {
        1
    }
}

impl Known {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(&'static str, i64)>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all of them.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// The statement that makes the partitions for `times` that are not known.
    pub(super) fn missing(
        &self,
        wanted: impl IntoIterator<Item = (&'static str, Vec<Timestamp>)>,
    ) -> Missing {
        let known = self.lock();
        let mut missing = Missing(Vec::new());
        for (table, times) in wanted {
            let span_ms = span_days(table) * DAY_MS;
            let mut last = None;
            for ts in times {
                let part = (table, ts.as_millis().div_euclid(span_ms));
                // Neighbours are mostly of one part.
                if last.replace(part) != Some(part) && !known.contains(&part) {
                    missing.0.push(part);
                }
            }
        }
        missing.0.sort_unstable();
        missing.0.dedup();
        missing
    }

    /// Notes that they are there: after the commit.
    pub(super) fn made(&self, missing: Missing) {
        self.lock().extend(missing.0);
    }
}

/// Partitions to make.
#[derive(Debug, Default)]
pub(super) struct Missing(Vec<(&'static str, i64)>);

impl Missing {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes them in `client`'s transaction, unless somebody has. They are
    /// attached rather than made in place: nobody who reads or writes waits.
    pub(super) async fn make(&self, client: &Client) -> Result<(), Error> {
        let mut sql = String::from("DO $$ BEGIN\n");
        for (table, number) in &self.0 {
            let span_ms = span_days(table) * DAY_MS;
            let from = Timestamp::from_millis(number * span_ms).to_rfc3339();
            let until = Timestamp::from_millis((number + 1) * span_ms).to_rfc3339();
            let name = format!("{table}_{}", from[..10].replace('-', ""));
            let _ = write!(
                sql,
                "IF to_regclass('{name}') IS NULL THEN
                    LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE;
                    IF to_regclass('{name}') IS NULL THEN
                        CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
                        ALTER TABLE {table} ATTACH PARTITION {name}
                            FOR VALUES FROM ('{from}') TO ('{until}');
                    END IF;
                END IF;\n"
            );
        }
        sql.push_str("END $$");
        client.batch_execute(&sql).await
    }
}

/// The parts of `table`, oldest first.
pub(super) async fn list(
    client: &Client,
    flavour: Flavour,
    table: &'static str,
) -> Result<Vec<Part>, PortError> {
    let sql = match flavour {
        Flavour::Plain => {
            "SELECT child.oid::regclass::text, \
                (regexp_match(pg_get_expr(child.relpartbound, child.oid), \
                    'FROM \\(''([^'']+)''\\)'))[1]::timestamptz AS since, \
                (regexp_match(pg_get_expr(child.relpartbound, child.oid), \
                    'TO \\(''([^'']+)''\\)'))[1]::timestamptz, false \
             FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid \
             WHERE inhparent = $1::text::regclass ORDER BY since"
        }
        Flavour::Timescale => {
            "SELECT format('%I.%I', chunk_schema, chunk_name), range_start, range_end, \
                coalesce(is_compressed, false) \
             FROM timescaledb_information.chunks \
             WHERE hypertable_schema = current_schema() AND hypertable_name = $1 \
             ORDER BY range_start"
        }
    };
    let rows = in_time(client.query(sql, &[&table])).await?;
    let read = |row: &tokio_postgres::Row| {
        let (Moment(from), Moment(until)) = (get(row, 1)?, get(row, 2)?);
        Ok(Part {
            table,
            name: get(row, 0)?,
            from,
            until,
            is_compressed: get(row, 3)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Drops `part` in `client`'s transaction; fails soon where somebody uses it.
pub(super) async fn drop_part(client: &Client, flavour: Flavour, part: &Part) -> Result<(), Error> {
    let wait = format!("SET LOCAL lock_timeout = {EXCLUSIVE_WAIT_MS}");
    client.batch_execute(&wait).await?;
    match flavour {
        Flavour::Plain => {
            let sql = format!("DROP TABLE {}", part.name);
            client.batch_execute(&sql).await
        }
        Flavour::Timescale => {
            let sql = "SELECT count(*) FROM drop_chunks($1::text::regclass, \
                older_than => $2::timestamptz, newer_than => $3::timestamptz)";
            let (until, from) = (bound(part.until), bound(part.from));
            client
                .query_one(sql, &[&part.table, &until, &from])
                .await
                .map(drop)
        }
    }
}
