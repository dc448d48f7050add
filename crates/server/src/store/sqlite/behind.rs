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
