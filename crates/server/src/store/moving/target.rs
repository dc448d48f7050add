//! The database that is moved into: every batch and how far it came, in one
//! transaction.

use anyhow::{Context, bail, ensure};
use deadpool_postgres::{ClientWrapper, Object};
use dormouse_core::clock::Timestamp;
use tokio_postgres::types::ToSql;

use super::batch::{Batch, Values};
use super::kind::Wire;
use super::source::{Source, Sums};
use super::tables::{Table, tables};
use crate::store::postgres::{PartKeeper, Postgres};

/// Where the copying notes how far it is.
const NOTES: &str = "CREATE TABLE IF NOT EXISTS moving (
        source      text        NOT NULL,
        started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
        finished_at timestamptz
    );
    CREATE TABLE IF NOT EXISTS moving_steps (
        name     text PRIMARY KEY,
        last_key text,
        done     int8 NOT NULL DEFAULT 0
    )";

/// How far one step is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// The key to go on after.
    pub(super) last: Option<String>,
    /// Rows copied.
    pub(super) done: u64,
}

/// The open database.
pub(super) struct Target {
    /// Out of the pool: what is set and locked on it is nobody else's.
    client: ClientWrapper,
    parts: PartKeeper,
}

impl Target {
    /// Prepares `db` for what comes from the source that `fingerprint` tells.
    pub(super) async fn begin(db: &Postgres, fingerprint: &str) -> anyhow::Result<Self> {
        let client = Object::take(db.connection().await?);
        // Long statements are what this is about; what a crash of the server
        // loses, its notes lose as well.
        client
            .batch_execute(
                "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
                 SET synchronous_commit = off; SET client_min_messages = warning",
            )
            .await?;
        let parts = PartKeeper::open(db).await?;
        let target = Self { client, parts };
        target.alone().await?;
        match target.note_source(fingerprint).await {
            Ok(()) => Ok(target),
            Err(error) => {
                target.end().await;
                Err(error)
            }
        }
    }

    /// Notes whose site this is, or checks that it is still the same.
    async fn note_source(&self, fingerprint: &str) -> anyhow::Result<()> {
        let there = "SELECT to_regclass('moving') IS NOT NULL";
        if !self.client.query_one(there, &[]).await?.get::<_, bool>(0) {
            self.refuse_occupied().await?;
            self.client.batch_execute(NOTES).await?;
            let sql = "INSERT INTO moving (source) VALUES ($1)";
            self.client.execute(sql, &[&fingerprint]).await?;
            return Ok(());
        }
        let sql = "SELECT source, finished_at IS NOT NULL FROM moving";
        let row = self.client.query_one(sql, &[]).await?;
        ensure!(
            !row.get::<_, bool>(1),
            "--to: a site was moved into this database already: choose an empty one"
        );
        ensure!(
            row.get::<_, &str>(0) == fingerprint,
            "--to: this database holds part of another site, or --from was written to since: empty the database (DROP SCHEMA … CASCADE; CREATE SCHEMA …) and begin again"
        );
        Ok(())
    }

    /// Nobody else may move anything into this database meanwhile.
    async fn alone(&self) -> anyhow::Result<()> {
        let sql = "SELECT pg_try_advisory_lock(x'646f726d'::int4, hashtext(current_schema() || 'moving'))";
        let row = self.client.query_one(sql, &[]).await?;
        ensure!(
            row.get::<_, bool>(0),
            "--to: somebody else moves a site into this database right now"
        );
        Ok(())
    }

    /// Lets others move here.
    pub(super) async fn end(self) {
        // Where this fails the connection is gone, and the lock with it.
        let unlock = "SELECT pg_advisory_unlock_all()";
        self.client.batch_execute(unlock).await.ok();
    }

    async fn refuse_occupied(&self) -> anyhow::Result<()> {
        for table in tables() {
            let sql = format!("SELECT EXISTS (SELECT FROM {})", table.name);
            if self.client.query_one(&sql, &[]).await?.get(0) {
                bail!(
                    "--to: the database is not empty (there are {}): choose an empty one",
                    table.name
                );
            }
        }
        Ok(())
    }

    /// How far `table` is.
    pub(super) async fn progress(&self, table: &Table) -> anyhow::Result<Progress> {
        let sql = "SELECT last_key, done FROM moving_steps WHERE name = $1";
        let row = self.client.query_opt(sql, &[&table.name]).await?;
        Ok(row.map_or_else(Progress::default, |row| Progress {
            last: row.get(0),
            done: row.get::<_, i64>(1).unsigned_abs(),
        }))
    }

    /// Keeps `batch`, the next of `table`.
    pub(super) async fn write(&mut self, table: &Table, batch: &Batch) -> anyhow::Result<()> {
        if batch.rows == 0 {
            return Ok(());
        }
        let transaction = self.client.transaction().await?;
        if let Some(Values::Int(times)) = table.by_time.map(|at| &batch.columns[at]) {
            let times = times.iter().flatten().copied().map(Timestamp::from_millis);
            self.parts
                .make(transaction.client(), table.name, times.collect())
                .await
                .with_context(|| format!("making room for {}", table.name))?;
        }
        let insert = transaction.prepare_cached(&insert(table)).await?;
        let values: Vec<&(dyn ToSql + Sync)> = batch.columns.iter().map(Values::sent).collect();
        let kept = transaction.execute(&insert, &values).await;
        let kept = kept.with_context(|| format!("writing {}", table.name))?;
        ensure!(
            kept == batch.rows as u64,
            "writing {}: {kept} rows of {} were kept",
            table.name,
            batch.rows
        );
        let note = "INSERT INTO moving_steps VALUES ($1, $2, $3) ON CONFLICT (name)
            DO UPDATE SET last_key = excluded.last_key, done = moving_steps.done + excluded.done";
        let note = transaction.prepare_cached(note).await?;
        let rows = i64::try_from(batch.rows)?;
        transaction
            .execute(&note, &[&table.name, &batch.last, &rows])
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// How many rows `table` has.
    pub(super) async fn count(&self, table: &Table) -> anyhow::Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let count: i64 = self.client.query_one(&sql, &[]).await?.get(0);
        Ok(count.unsigned_abs())
    }

    /// What the samples of each device add up to, in order of the devices.
    pub(super) async fn sums(&self) -> anyhow::Result<Vec<Sums>> {
        let sql = "SELECT device::int8, count(*), coalesce(sum(power_dw), 0)::int8,
                coalesce(sum(energy_dwh), 0)::int8,
                round(extract(epoch FROM min(ts)) * 1000)::int8,
                round(extract(epoch FROM max(ts)) * 1000)::int8
            FROM (SELECT device, ts, power_dw, energy_dwh FROM samples
                  UNION ALL SELECT device, ts, power_dw, energy_dwh FROM remnants) AS it
            GROUP BY device ORDER BY device";
        let rows = self.client.query(sql, &[]).await?;
        let read = |row: &tokio_postgres::Row| Sums {
            device: row.get(0),
            count: row.get(1),
            power: row.get(2),
            energy: row.get(3),
            first: row.get(4),
            last: row.get(5),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// What has no rows of its own: single values, and where keys go on. The
    /// database can be used from now on.
    pub(super) async fn finish(&mut self, source: &Source) -> anyhow::Result<()> {
        let transaction = self.client.transaction().await?;
        for name in ["zone", "raw_floor", "minute_floor"] {
            if let Some(value) = source.fact(name)? {
                let sql = "INSERT INTO history_facts VALUES ($1, $2)
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                transaction.execute(sql, &[&name, &value]).await?;
            }
        }
        for (table, column, last) in source.counters()? {
            let sql = "SELECT setval(pg_get_serial_sequence($1, $2), $3)";
            transaction
                .query_one(sql, &[&table, &column, &last])
                .await?;
        }
        let (devices, tails): (Vec<i32>, Vec<Vec<u8>>) = source
            .tails()?
            .iter()
            .map(|(device, tail)| (device.0.cast_signed(), tail.encode()))
            .unzip();
        let sql = "INSERT INTO intake (device, tail) SELECT * FROM unnest($1::int4[], $2::bytea[])
            ON CONFLICT (device) DO UPDATE SET tail = excluded.tail";
        transaction.execute(sql, &[&devices, &tails]).await?;
        let done = "UPDATE moving SET finished_at = clock_timestamp()";
        transaction.batch_execute(done).await?;
        // From here on durability is everything again.
        transaction
            .batch_execute("SET LOCAL synchronous_commit = on")
            .await?;
        transaction.commit().await?;
        // For good plans from the first question on.
        self.client.batch_execute("ANALYZE").await?;
        Ok(())
    }
}

fn insert(table: &Table) -> String {
    let mut names = Vec::new();
    let mut sent = Vec::new();
    let mut places = Vec::new();
    let mut values = Vec::new();
    for (at, column) in table.columns.iter().enumerate() {
        let wire = match column.kind.wire() {
            Wire::Int => "int8",
            Wire::Text => "text",
            Wire::Bytes => "bytea",
        };
        names.push(column.name);
        sent.push(format!("c{at}"));
        places.push(format!("${}::{wire}[]", at + 1));
        values.push(column.kind.value(&format!("c{at}")));
    }
    format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest({}) AS it ({})",
        table.name,
        names.join(", "),
        values.join(", "),
        places.join(", "),
        sent.join(", ")
    )
}
