//! What a database file held at one moment, while others go on writing it.

use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use dormouse_core::ports::journal::JournalPosition;

use super::file::BUSY;
use super::{commands, dormouse, history};
use crate::progress::{Stopped, Unit, Watch};

/// Pages copied at a time: 4 MiB of 4 KiB pages.
const STEP_PAGES: i32 = 1_024;
const OPEN: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// One of a site's database files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// Samples and rollups.
    History,
    /// Commands.
    Commands,
    /// Devices, people, events, audit.
    Dormouse,
}

impl Database {
    /// All of them, in the order in which snapshots must begin: history says
    /// how far the journal was taken in, and what came before that is in the
    /// others already.
    pub const ALL: [Self; 3] = [Self::History, Self::Commands, Self::Dormouse];

    /// The newest schema that this Dormouse knows.
    #[must_use]
    pub const fn schema_known(self) -> usize {
        match self {
            Self::History => history::MIGRATIONS.len(),
            Self::Commands => commands::MIGRATIONS.len(),
            Self::Dormouse => dormouse::DORMOUSE.len(),
        }
    }

    /// What is counted in it: a name, and the tables.
    const fn counted(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::History => &[
                ("samples", &["samples", "recent"]),
                ("minutes", &["minutes"]),
                ("quarters", &["quarters"]),
                ("days", &["days"]),
            ],
            Self::Commands => &[("commands", &["command"]), ("batches", &["batch"])],
            Self::Dormouse => &[
                ("devices", &["devices"]),
                ("users", &["users"]),
                ("tokens", &["tokens"]),
                ("events", &["events"]),
                ("incidents", &["incidents"]),
                ("audit", &["audit"]),
            ],
        }
    }
}

/// Why a snapshot could not be taken or used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// SQLite refused.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The file is not sound.
    #[error("{path} is damaged: {finding}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found first.
        finding: String,
    },
    /// Somebody asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A file as it was when the snapshot was taken. Writers go on; what they
/// write stays in the file's log until the snapshot is dropped.
#[derive(Debug)]
pub struct Snapshot {
    connection: Connection,
    path: PathBuf,
    schema: usize,
    bytes: u64,
}

impl Snapshot {
    /// Freezes the file at `path`, which must be there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(path: &Path) -> Result<Self, SnapshotError> {
        let take = || -> rusqlite::Result<_> {
            let connection = Connection::open_with_flags(path, OPEN)?;
            connection.busy_timeout(BUSY)?;
            // Moving the log into the file is the server's business.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.execute_batch("BEGIN")?;
            let pragma = |sql: &str| {
                connection
                    .query_row(sql, [], |row| row.get::<_, i64>(0))
                    .map(i64::unsigned_abs)
            };
            let schema = pragma("PRAGMA user_version")?;
            let bytes = pragma("PRAGMA page_count")? * pragma("PRAGMA page_size")?;
            Ok((connection, schema, bytes))
        };
        let (connection, schema, bytes) = take().map_err(|source| sqlite(path, source))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            schema: usize::try_from(schema).unwrap_or(usize::MAX),
            bytes,
        })
    }

    /// The number of its schema.
    #[must_use]
    pub const fn schema(&self) -> usize {
        self.schema
    }

    /// How large a copy is.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How far the journal had been taken in, where this is history.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn journal_position(&self) -> Result<Option<JournalPosition>, SnapshotError> {
        history::journal_position(&self.connection).map_err(|source| sqlite(&self.path, source))
    }

    /// Writes a copy to `to`, a new file that needs no log beside it.
    ///
    /// # Errors
    /// When it cannot be written, or `watch` wants to stop.
    pub fn copy_to(&self, to: &Path, watch: &mut dyn Watch) -> Result<(), SnapshotError> {
        let what = to.file_name().unwrap_or_default().to_string_lossy();
        let broken = |source| sqlite(to, source);
        let mut copy = Connection::open(to).map_err(broken)?;
        // A copy that a power cut tears is not a backup yet.
        copy.pragma_update(None, "synchronous", "OFF")
            .map_err(broken)?;
        {
            let backup = Backup::new(&self.connection, &mut copy).map_err(broken)?;
            loop {
                let step = backup.step(STEP_PAGES).map_err(broken)?;
                let progress = backup.progress();
                let total = u64::try_from(progress.pagecount).unwrap_or_default().max(1);
                let left = u64::try_from(progress.remaining).unwrap_or_default();
                let page = self.bytes / total;
                watch.at(&what, (total - left) * page, total * page, Unit::Bytes)?;
                // The source is held and the copy is ours alone: neither is
                // ever busy for long.
                if step == StepResult::Done {
                    break;
                }
            }
        }
        copy.pragma_update(None, "journal_mode", "DELETE")
            .map_err(broken)
    }
}

/// Counts what matters to people in `database`'s file at `path`.
///
/// # Errors
/// When it cannot be read.
pub fn counts(database: Database, path: &Path) -> Result<Vec<(&'static str, u64)>, SnapshotError> {
    let count = || -> rusqlite::Result<_> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut counts = Vec::new();
        for (name, tables) in database.counted() {
            let mut sum = 0;
            for table in *tables {
                let known = connection
                    .query_row(
                        "SELECT 1 FROM sqlite_schema WHERE name = ?1",
                        [table],
                        |_| Ok(()),
                    )
                    .optional()?;
                // A file of an older schema may lack a table.
                if known.is_some() {
                    let sql = format!("SELECT count(*) FROM {table}");
                    sum += connection
                        .query_row(&sql, [], |row| row.get::<_, i64>(0))?
                        .unsigned_abs();
                }
            }
            counts.push((*name, sum));
        }
        Ok(counts)
    };
    count().map_err(|source| sqlite(path, source))
}

/// Checks that the file at `path` is sound and of the schema `schema`.
///
/// # Errors
/// When it is not.
pub fn check(path: &Path, schema: usize) -> Result<(), SnapshotError> {
    let look = || -> rusqlite::Result<_> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let finding: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok((finding, version))
    };
    let (finding, version) = look().map_err(|source| sqlite(path, source))?;
    let damaged = |finding| {
        Err(SnapshotError::Damaged {
            path: path.to_owned(),
            finding,
        })
    };
    if finding != "ok" {
        return damaged(finding);
    }
    if usize::try_from(version) != Ok(schema) {
        return damaged(format!("its schema is {version}, not {schema}"));
    }
    Ok(())
}

fn sqlite(path: &Path, source: rusqlite::Error) -> SnapshotError {
    SnapshotError::Sqlite {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn writer(path: &Path) -> Connection {
        let writer = Connection::open(path).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA user_version = 3;
                 CREATE TABLE IF NOT EXISTS devices (x INTEGER, filler BLOB);",
            )
            .unwrap();
        writer
    }

    fn insert(writer: &Connection, rows: u32) {
        for x in 0..rows {
            writer
                .execute("INSERT INTO devices VALUES (?1, zeroblob(2000))", [x])
                .unwrap();
        }
    }

    #[test]
    fn a_copy_holds_what_was_there_when_the_snapshot_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let writer = writer(&path);
        insert(&writer, 3_000);
        let snapshot = Snapshot::take(&path).unwrap();
        insert(&writer, 10);
        // Writers are not held up, not even by a copy half done.
        let copy = dir.path().join("copy.db");
        let mut also_write = Writing(&writer);
        snapshot.copy_to(&copy, &mut also_write).unwrap();
        assert_eq!(std::fs::metadata(&copy).unwrap().len(), snapshot.bytes());
        assert!(!dir.path().join("copy.db-wal").exists());
        let counts = counts(Database::Dormouse, &copy).unwrap();
        assert_eq!(counts[0], ("devices", 3_000));
        check(&copy, 3).unwrap();
        let error = check(&copy, 2).unwrap_err().to_string();
        assert!(error.contains("its schema is 3, not 2"), "{error}");
    }

    /// Writes while it watches.
    struct Writing<'a>(&'a Connection);

    impl Watch for Writing<'_> {
        fn at(&mut self, _: &str, _: u64, _: u64, _: Unit) -> Result<(), Stopped> {
            insert(self.0, 5);
            Ok(())
        }
    }

    #[test]
    fn it_stops_when_asked() {
        struct Stop;
        impl Watch for Stop {
            fn at(&mut self, _: &str, _: u64, _: u64, _: Unit) -> Result<(), Stopped> {
                Err(Stopped)
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        insert(&writer(&path), 1);
        let snapshot = Snapshot::take(&path).unwrap();
        let stopped = snapshot.copy_to(&dir.path().join("copy.db"), &mut Stop);
        assert!(matches!(stopped, Err(SnapshotError::Stopped(Stopped))));
    }

    #[test]
    fn a_file_that_is_no_database_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        std::fs::write(&path, [7; 5_000]).unwrap();
        assert!(check(&path, 1).is_err());
        assert!(Snapshot::take(&path).is_err());
        assert!(Snapshot::take(&dir.path().join("none.db")).is_err());
    }

    #[test]
    fn silence_never_stops() {
        assert_eq!(Silent.at("x", 0, 1, Unit::Bytes), Ok(()));
    }
}
