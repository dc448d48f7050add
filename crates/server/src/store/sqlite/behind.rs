//! Fsync behind: a commit returns once it is in the log, where `kill -9`
//! cannot touch it; a thread carries the log to the disk within milliseconds,
//! and another moves it into the database file, so that no commit waits for
//! either.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

/// How long commits gather before the log is synced: with the sync itself,
/// well under the 10 ms that are promised.
const GATHER: Duration = Duration::from_millis(3);
/// How often the log is moved into the database file while there are commits.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Pages in the log beyond which writers are held up for a moment to empty it:
/// 64 MiB of 4 KiB pages.
const LOG_PAGES_MAX: i64 = 16_000;
/// How long emptying the log may wait for readers and the writer.
const RESTART_BUSY: Duration = Duration::from_millis(500);

/// The two threads behind one database file; dropping it ends them after a
/// last sync.
#[derive(Debug)]
pub(super) struct Behind {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    to_sync: bool,
    to_checkpoint: bool,
    closing: bool,
}

impl Behind {
    /// Starts the threads for the database at `path`, whose log exists.
    pub(super) fn start(path: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let log = File::options().write(true).open(log_path(path))?;
        let connection = Connection::open(path).map_err(io::Error::other)?;
        let syncing = Arc::clone(&shared);
        let sync = std::thread::Builder::new()
            .name("commands sync".to_owned())
            .spawn(move || syncing.run_sync(&log))?;
        let mut behind = Self {
            shared: Arc::clone(&shared),
            threads: vec![sync],
        };
        let checkpoint = std::thread::Builder::new()
            .name("commands move".to_owned())
            .spawn(move || shared.run_checkpoints(&connection))?;
        behind.threads.push(checkpoint);
        Ok(behind)
    }

    /// Says that the log has grown.
    pub(super) fn committed(&self) {
        let mut work = self.shared.lock();
        let idle = !work.to_sync;
        work.to_sync = true;
        work.to_checkpoint = true;
        drop(work);
        if idle {
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run_sync(&self, log: &File) {
        loop {
            let mut work = self.lock();
            while !work.to_sync && !work.closing {
                work = self.wait(work);
            }
            if !work.to_sync {
                return;
            }
            drop(work);
            std::thread::sleep(GATHER);
            self.lock().to_sync = false;
            if let Err(error) = log.sync_data() {
                tracing::error!(%error, "the command log could not be synced");
            }
        }
    }

    fn run_checkpoints(&self, connection: &Connection) {
        loop {
            let mut work = self.lock();
            while !work.to_checkpoint && !work.closing {
                work = self.wait(work);
            }
            if work.closing {
                return;
            }
            work.to_checkpoint = false;
            // Not after each commit: pages that change often move once.
            let (work, _) = self
                .changed
                .wait_timeout_while(work, CHECKPOINT_EVERY, |work| !work.closing)
                .unwrap_or_else(PoisonError::into_inner);
            drop(work);
            if let Err(error) = checkpoint(connection) {
                tracing::warn!(%error, "the command log could not be moved; it grows");
            }
        }
    }

    fn wait<'a>(&self, work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        self.changed
            .wait(work)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    let run = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(1));
    let pages = run("PRAGMA wal_checkpoint(PASSIVE)")?;
    if pages > LOG_PAGES_MAX {
        connection.busy_timeout(RESTART_BUSY)?;
        run("PRAGMA wal_checkpoint(RESTART)")?;
    }
    Ok(())
}

fn log_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push("-wal");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// A database in a folder of its own, with a log and no checkpoints of
    /// its writer's.
    fn database() -> (tempfile::TempDir, PathBuf, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB);",
            )
            .unwrap();
        (dir, path, writer)
    }

    fn wait_until(what: &str, mut reached: impl FnMut() -> bool) -> Duration {
        let started = Instant::now();
        while !reached() {
            let waited = started.elapsed();
            assert!(waited < Duration::from_secs(10), "{what} in time");
            std::thread::sleep(Duration::from_micros(200));
        }
        started.elapsed()
    }

    #[test]
    fn a_commit_is_synced_behind_and_the_log_moved_without_the_writer() {
        let (_dir, path, writer) = database();
        let behind = Behind::start(&path).unwrap();
        let empty = std::fs::metadata(&path).unwrap().len();
        writer
            .execute("INSERT INTO t VALUES (zeroblob(1000000))", [])
            .unwrap();
        behind.committed();
        wait_until("the sync", || !behind.shared.lock().to_sync);
        wait_until("the move", || {
            std::fs::metadata(&path).unwrap().len() > empty + 900_000
        });
        drop(behind);
    }

    #[test]
    fn dropping_it_syncs_what_is_left_and_ends_the_threads() {
        let (_dir, path, writer) = database();
        let behind = Behind::start(&path).unwrap();
        writer.execute("INSERT INTO t VALUES (1)", []).unwrap();
        behind.committed();
        let shared = Arc::clone(&behind.shared);
        drop(behind);
        assert!(!shared.lock().to_sync);
        assert_eq!(Arc::strong_count(&shared), 1, "no thread holds it");
    }

    #[test]
    fn it_refuses_a_database_without_a_log() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Behind::start(&dir.path().join("none.db")).is_err());
    }
}
