//! History in SQLite: `history.db`.
//!
//! Samples arrive interleaved, one of each device after another, but are kept
//! and read by device. Written there at once, each would dirty a page of its
//! own, and two or three more of the rollups. So they are first appended to
//! `recent` (durable at once), mirrored in memory with what they change in the
//! rollups ([`fresh`]), and moved in bulk, by series, when there are enough of
//! them or a while has passed. Readers add the two; a generation number in the
//! file tells them whether what they hold in memory has been moved meanwhile.

mod append;
mod fresh;
mod keys;
mod port;
mod read;
mod tables;
mod upkeep;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use dormouse_core::ports::PortError;
use dormouse_core::site::SiteZone;
use tokio::time::{Duration, Instant};

use super::{Migration, OpenError, SqliteFile, Synchronous};
pub(super) use append::journal_position;
use fresh::Fresh;
pub(crate) use fresh::tails;
use upkeep::Expiring;

/// Samples in `recent` that make a move due: some 10 MB of memory.
const MOVE_ROWS: usize = 150_000;
/// The time after which a move is due, however few samples there are.
const MOVE_AFTER: Duration = Duration::from_secs(120);
/// The writer's page cache, KiB.
const CACHE_KIB: i64 = 16 * 1024;

pub(super) const MIGRATIONS: &[Migration] = &[Migration {
    name: "0001_history",
    sql: include_str!("../../../../migrations/sqlite/history/0001_history.sql"),
}];

/// History in a SQLite file.
#[derive(Debug)]
pub struct SqliteHistory {
    file: SqliteFile,
    zone: SiteZone,
    fresh: Arc<RwLock<Fresh>>,
    /// Held through every write, so that writes of `fresh` and of the file
    /// come in one order.
    writing: tokio::sync::Mutex<Writing>,
    expiring: Mutex<Option<Expiring>>,
    move_rows: usize,
}

#[derive(Debug)]
struct Writing {
    /// Set while a write is under way: found set, the last one failed or was
    /// abandoned, and `fresh` must be read from the file again.
    unsure: bool,
    moved_at: Instant,
}

/// Why history could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenHistoryError {
    /// The file could not be opened.
    #[error(transparent)]
    File(#[from] OpenError),
    /// It could not be read.
    #[error("cannot read the history: {0}")]
    Read(#[from] PortError),
}

impl SqliteHistory {
    /// Opens or creates the history of a site in `zone`. Days are derived
    /// again where the zone is another than the last time.
    ///
    /// # Errors
    /// When the file cannot be opened or read.
    pub async fn open(path: &Path, zone: SiteZone) -> Result<Self, OpenHistoryError> {
        let file = SqliteFile::open(path, MIGRATIONS, Synchronous::Full)?;
        let days_of = zone.clone();
        let fresh = file
            .write(move |db| {
                db.pragma_update(None, "cache_size", -CACHE_KIB)?;
                upkeep::keep_zone(db, &days_of)?;
                Fresh::load(db)
            })
            .await?;
        Ok(Self {
            file,
            zone,
            fresh: Arc::new(RwLock::new(fresh)),
            writing: tokio::sync::Mutex::new(Writing {
                unsure: false,
                moved_at: Instant::now(),
            }),
            expiring: Mutex::default(),
            move_rows: MOVE_ROWS,
        })
    }

    /// Whether the file takes writes now.
    ///
    /// # Errors
    /// When it does not.
    pub async fn probe(&self) -> Result<(), PortError> {
        self.file.probe().await
    }

    /// Moves what is fresh into its place and closes the file.
    pub async fn close(&self) {
        let mut writing = self.writing.lock().await;
        // What could not be moved is moved after the next start.
        self.move_fresh(&mut writing).await.ok();
        self.file.close().await;
    }

    /// Moves what is fresh into the tables by series.
    async fn move_fresh(&self, writing: &mut Writing) -> Result<(), PortError> {
        let fresh = Arc::clone(&self.fresh);
        let zone = self.zone.clone();
        let reload = std::mem::replace(&mut writing.unsure, true);
        let moved = self
            .file
            .write(move |db| {
                if reload {
                    let reloaded = Fresh::load(db)?;
                    *write(&fresh) = reloaded;
                }
                append::move_fresh(db, &lock(&fresh), zone)
            })
            .await?;
        if moved {
            write(&self.fresh).moved();
        }
        writing.unsure = false;
        writing.moved_at = Instant::now();
        Ok(())
    }

    fn move_is_due(&self, writing: &Writing) -> bool {
        let rows = lock(&self.fresh).rows;
        rows >= self.move_rows || rows > 0 && writing.moved_at.elapsed() >= MOVE_AFTER
    }
}

/// No code panics while it changes what is fresh.
fn write(fresh: &RwLock<Fresh>) -> RwLockWriteGuard<'_, Fresh> {
    fresh.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock(fresh: &RwLock<Fresh>) -> RwLockReadGuard<'_, Fresh> {
    fresh.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
