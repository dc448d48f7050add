//! What keeps the tables in shape: our own timer runs it, since the database's
//! own jobs can fail without a word.

use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::super::pool::{failed, get, in_time};
use super::super::schema::Flavour;
use super::PostgresHistory;
use super::columns::bound;
use super::parts::{self, Part};

/// The age at which what is written no more is compressed.
const COMPRESS_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// The age at which a partition that is written no more is put in order.
const ORDER_AFTER: Duration = Duration::from_secs(2 * 86_400);
/// The largest partition that is put in order, bytes: nobody reads or writes
/// it meanwhile, for a second or two per 100 MB.
const ORDER_MAX: i64 = 256 << 20;
/// Days for which partitions are made ahead: a node that cannot make tables
/// for that long still keeps everything.
const AHEAD_DAYS: u32 = 3;
/// How long a step waits for those who use a chunk.
const LOCK_WAIT_MS: u32 = 5_000;

/// How one step of maintenance went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// Which.
    pub step: &'static str,
    /// When it ran last.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How many chunks or partitions it changed, where it counts them.
    pub changed: usize,
    /// When it last succeeded, as far as this process knows.
    pub last_success: Option<Timestamp>,
    /// Why it failed, where it did.
    pub error: Option<String>,
}

/// How maintenance went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MaintenanceReport {
    /// Its steps, in order.
    pub steps: Vec<StepReport>,
    /// Jobs that somebody else set up in the database and that failed.
    pub failed_jobs: Vec<String>,
}

/// Maintenance of one database's history; run by whoever holds the lease.
#[derive(Debug)]
pub struct Maintenance {
    history: std::sync::Arc<PostgresHistory>,
    report: MaintenanceReport,
}

impl MaintenanceReport {
    /// Whether every step succeeded and no job failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.failed_jobs.is_empty() && self.steps.iter().all(|it| it.error.is_none())
    }

    /// When every step had succeeded last; `None` unless each has.
    #[must_use]
    pub fn last_success(&self) -> Option<Timestamp> {
        let each: Option<Vec<Timestamp>> = self.steps.iter().map(|it| it.last_success).collect();
        each?.into_iter().min()
    }

    /// One line for people: what failed, or when all of it last succeeded.
    #[must_use]
    pub fn detail(&self) -> String {
        let failed = self.steps.iter().filter_map(|it| {
            let error = it.error.as_ref()?;
            let since = match it.last_success {
                Some(ts) => format!("last succeeded {}", ts.to_rfc3339()),
                None => "never succeeded".to_owned(),
            };
            Some(format!("{}: {error} ({since})", it.step))
        });
        let jobs = self
            .failed_jobs
            .iter()
            .map(|it| format!("job failed: {it}"));
        let troubles: Vec<String> = failed.chain(jobs).collect();
        if !troubles.is_empty() {
            return troubles.join("; ");
        }
        match self.last_success() {
            Some(ts) => format!("maintained {}", ts.to_rfc3339()),
            None => "not maintained yet".to_owned(),
        }
    }
}

impl Maintenance {
    /// Maintenance that has not run yet.
    #[must_use]
    pub fn new(history: std::sync::Arc<PostgresHistory>) -> Self {
        Self {
            history,
            report: MaintenanceReport::default(),
        }
    }

    /// Runs every step; one that fails does not keep the others from running.
    pub async fn run(&mut self, now: Timestamp) -> &MaintenanceReport {
        let history = std::sync::Arc::clone(&self.history);
        match history.flavour {
            Flavour::Plain => {
                self.step("partitions", now, history.make_ahead(now)).await;
                let old = now - ORDER_AFTER;
                self.step("order", now, history.order(old)).await;
            }
            Flavour::Timescale => {
                let old = now - COMPRESS_AFTER;
                self.step("compress", now, history.compress(old)).await;
                self.step("recompress", now, history.recompress(old)).await;
                self.step("refresh", now, history.refresh(now)).await;
                match history.failed_jobs().await {
                    Ok(failed) => self.report.failed_jobs = failed,
                    Err(error) => tracing::warn!(%error, "cannot see the database's failed jobs"),
                }
            }
        }
        &self.report
    }

    async fn step(
        &mut self,
        step: &'static str,
        now: Timestamp,
        work: impl Future<Output = Result<usize, PortError>>,
    ) {
        let began = Instant::now();
        let done = work.await;
        let took = began.elapsed();
        let known = self.report.steps.iter().position(|it| it.step == step);
        let before = known.map(|at| self.report.steps.remove(at));
        let last_success = before.and_then(|it| it.last_success);
        let report = match done {
            Ok(changed) => StepReport {
                step,
                at: now,
                took,
                changed,
                last_success: Some(now),
                error: None,
            },
            Err(error) => StepReport {
                step,
                at: now,
                took,
                changed: 0,
                last_success,
                error: Some(words(&error)),
            },
        };
        self.report.steps.push(report);
    }
}

/// Whether `part` was put in order now; not where it was before, is too large
/// or somebody uses it.
async fn put_in_order(client: &Client, part: &Part) -> Result<bool, PortError> {
    let key = "SELECT indexrelid::regclass::text FROM pg_index \
        WHERE indrelid = $1::text::regclass AND indisprimary AND NOT indisclustered \
            AND pg_table_size(indrelid) BETWEEN 1 AND $2";
    let Some(row) = in_time(client.query_opt(key, &[&part.name, &ORDER_MAX])).await? else {
        return Ok(false);
    };
    let (name, key): (&str, &str) = (&part.name, get(&row, 0)?);
    let sql = format!("CLUSTER {name} USING {key}; ANALYZE {name}");
    match client.batch_execute(&sql).await {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn words(error: &PortError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

impl PostgresHistory {
    /// Makes the partitions of the next days.
    async fn make_ahead(&self, now: Timestamp) -> Result<usize, PortError> {
        let day = Duration::from_secs(86_400);
        let days: Vec<Timestamp> = (0..=AHEAD_DAYS).map(|n| now + day * n).collect();
        let missing = self
            .known
            .missing(["samples", "minutes", "quarters"].map(|table| (table, days.clone())));
        let count = missing.len();
        if count > 0 {
            let client = self.db.connection().await?;
            in_time(missing.make(&client)).await?;
            self.known.made(missing);
        }
        Ok(count)
    }

    /// Rewrites every partition that ended before `before` in the order of its
    /// key, once. As it arrived, each row of a series stands on a page of its
    /// own, and a chart of a day reads as many pages as it has samples.
    pub(super) async fn order(&self, before: Timestamp) -> Result<usize, PortError> {
        let client = self.own_connection().await?;
        let wait = format!("SET lock_timeout = {}", parts::EXCLUSIVE_WAIT_MS);
        in_time(client.batch_execute(&wait)).await?;
        let mut ordered = 0;
        for table in ["samples", "minutes", "quarters"] {
            let parts = parts::list(&client, self.flavour, table).await?;
            for part in parts.iter().filter(|it| it.until <= before) {
                ordered += usize::from(put_in_order(&client, part).await?);
            }
        }
        Ok(ordered)
    }

    /// Compresses every chunk that ended before `before`.
    pub(super) async fn compress(&self, before: Timestamp) -> Result<usize, PortError> {
        let client = self.own_connection().await?;
        let mut compressed = 0;
        for table in ["samples", "minutes", "quarters"] {
            let parts = parts::list(&client, self.flavour, table).await?;
            let is_due = |it: &&Part| !it.is_compressed && it.until <= before;
            for part in parts.iter().filter(is_due) {
                let sql = "SELECT compress_chunk($1::text::regclass, if_not_compressed => true)";
                client.execute(sql, &[&part.name]).await.map_err(failed)?;
                compressed += 1;
            }
        }
        Ok(compressed)
    }

    /// Compresses what came late into compressed chunks.
    pub(super) async fn recompress(&self, before: Timestamp) -> Result<usize, PortError> {
        let client = self.own_connection().await?;
        // 8: partly compressed; 2: compressed, but out of order.
        let sql = "SELECT format('%I.%I', c.schema_name, c.table_name) \
            FROM _timescaledb_catalog.chunk AS c \
            JOIN _timescaledb_catalog.hypertable AS h ON h.id = c.hypertable_id \
            JOIN timescaledb_information.chunks AS i \
                ON i.chunk_schema = c.schema_name AND i.chunk_name = c.table_name \
            WHERE h.schema_name = current_schema() \
                AND h.table_name IN ('samples', 'minutes', 'quarters') \
                AND i.range_end <= $1 AND c.status & 10 <> 0 AND c.status & 1 <> 0";
        let rows = in_time(client.query(sql, &[&bound(before)])).await?;
        for row in &rows {
            let name: &str = get(row, 0)?;
            let sql = "SELECT compress_chunk($1::text::regclass, if_not_compressed => true)";
            client.execute(sql, &[&name]).await.map_err(failed)?;
        }
        Ok(rows.len())
    }

    /// Brings `telemetry_hourly` up to the last full hour.
    async fn refresh(&self, now: Timestamp) -> Result<usize, PortError> {
        let client = self.own_connection().await?;
        let until = super::levels::hour_of(now).to_rfc3339();
        let sql = format!(
            "CALL refresh_continuous_aggregate('telemetry_hourly', NULL, '{until}'::timestamptz)"
        );
        client.batch_execute(&sql).await.map_err(failed)?;
        Ok(0)
    }

    /// The database's own jobs that failed within a day.
    async fn failed_jobs(&self) -> Result<Vec<String>, PortError> {
        let sql = "SELECT DISTINCT ON (job_id) format('%s (job %s): %s', proc_name, job_id, \
                err_message) FROM timescaledb_information.job_errors \
            WHERE finish_time > now() - interval '1 day' ORDER BY job_id, finish_time DESC";
        let rows = self.db.query(sql, &[]).await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// A connection for long work, closed afterwards.
    async fn own_connection(&self) -> Result<ClientWrapper, PortError> {
        let client = Object::take(self.db.connection().await?);
        let sql = format!("SET statement_timeout = 0; SET lock_timeout = {LOCK_WAIT_MS}");
        in_time(client.batch_execute(&sql)).await?;
        Ok(client)
    }
}
