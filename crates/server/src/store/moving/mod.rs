//! Moving a site from SQLite to PostgreSQL.
//!
//! Every table is read in order of its keys and written in batches, each with
//! a note of how far it is in the same transaction: it can be stopped at any
//! moment and taken up again. At the end everything is counted and added up
//! on both sides.

mod batch;
mod kind;
mod source;
mod tables;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::progress::{Unit, Watch};
use crate::store::postgres::Postgres;
use batch::Batch;
use source::{Source, Sums};
use tables::{Table, tables};
use target::Target;

pub use source::require_site;

/// Rows that travel together.
const BATCH: usize = 20_000;

/// What was moved, as counted on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Rows by table.
    pub tables: Vec<(&'static str, u64)>,
    /// Devices whose samples were added up.
    pub devices: usize,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:>12}", "table", "rows")?;
        for (name, rows) in &self.tables {
            writeln!(f, "{name:<20} {rows:>12}  the same on both sides")?;
        }
        write!(
            f,
            "samples of {} devices: count, sums of power and energy, first and last time are the same",
            self.devices
        )
    }
}

/// Moves the site in the folder `from` into `to`, an empty database or one
/// that an earlier call began to fill from the same site.
///
/// # Errors
/// When a server runs on the source, the target is not empty, either cannot be
/// read or written, or the two differ in the end; what was copied stays, to go
/// on from. When `watch` wants to stop.
pub async fn move_site(from: &Path, to: &Postgres, watch: &mut dyn Watch) -> anyhow::Result<Moved> {
    let source = Arc::new(Source::open(from).await?);
    let fingerprint = source.fingerprint()?;
    let mut target = Target::begin(to, &fingerprint).await?;
    let moved = fill(&source, &mut target, watch).await;
    target.end().await;
    moved
}

async fn fill(
    source: &Arc<Source>,
    target: &mut Target,
    watch: &mut dyn Watch,
) -> anyhow::Result<Moved> {
    for table in tables() {
        copy(source, target, table, watch).await?;
    }
    let moved = verify(source, target, watch).await?;
    target.finish(source).await?;
    Ok(moved)
}

/// Copies what is left of one table; the next batch is read while one is written.
async fn copy(
    source: &Arc<Source>,
    target: &mut Target,
    table: &'static Table,
    watch: &mut dyn Watch,
) -> anyhow::Result<()> {
    let total = source.count(table)?;
    let progress = target.progress(table).await?;
    let mut done = progress.done;
    watch.at(table.name, done, total, Unit::Rows)?;
    let mut batch = read(source, table, progress.last).await?;
    while batch.rows > 0 {
        let next = read(source, table, Some(batch.last.clone()));
        let (written, next) = tokio::join!(target.write(table, &batch), next);
        written?;
        done += batch.rows as u64;
        watch.at(table.name, done, total, Unit::Rows)?;
        batch = next?;
    }
    Ok(())
}

async fn read(
    source: &Arc<Source>,
    table: &'static Table,
    after: Option<String>,
) -> anyhow::Result<Batch> {
    let source = Arc::clone(source);
    tokio::task::spawn_blocking(move || source.read(table, after.as_deref(), BATCH))
        .await?
        .with_context(|| format!("reading {}", table.from))
}

/// Counts and adds up both sides.
async fn verify(
    source: &Arc<Source>,
    target: &Target,
    watch: &mut dyn Watch,
) -> anyhow::Result<Moved> {
    let steps = tables().count() as u64 + 1;
    let mut moved = Vec::new();
    for (at, table) in tables().enumerate() {
        watch.at("comparing", at as u64, steps, Unit::Rows)?;
        let (there, here) = (source.count(table)?, target.count(table).await?);
        ensure!(
            there == here,
            "{}: {there} rows in SQLite, {here} in PostgreSQL: somebody wrote to one of them meanwhile; empty the database and begin again",
            table.name
        );
        moved.push((table.name, here));
    }
    watch.at("comparing", steps - 1, steps, Unit::Rows)?;
    let reading = Arc::clone(source);
    let there = tokio::task::spawn_blocking(move || reading.sums());
    let (there, here) = tokio::join!(there, target.sums());
    let (there, here) = (there??, here?);
    if let Some((there, here)) = differing(&there, &here) {
        anyhow::bail!(
            "samples differ: {there:?} in SQLite, {here:?} in PostgreSQL; empty the database and begin again"
        );
    }
    watch.at("comparing", steps, steps, Unit::Rows)?;
    Ok(Moved {
        tables: moved,
        devices: here.len(),
    })
}

/// The first device whose sums differ.
fn differing(there: &[Sums], here: &[Sums]) -> Option<(Option<Sums>, Option<Sums>)> {
    let longer = there.len().max(here.len());
    (0..longer)
        .map(|at| (there.get(at).copied(), here.get(at).copied()))
        .find(|(there, here)| there != here)
}
