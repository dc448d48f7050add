//! One database file: its writer thread and its readers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dormouse_core::ports::PortError;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot};

use super::behind::Behind;
use super::readers::Readers;
use super::schema::{Migration, OpenError, migrate};

/// Jobs waiting for the writer; a full queue makes callers wait.
const QUEUE: usize = 4_096;
/// Jobs that share one transaction at most.
const GROUP: usize = 512;
/// How long SQLite waits for a lock that another process holds.
pub(super) const BUSY: Duration = Duration::from_secs(2);
/// Pages in the log before a commit also checkpoints: 64 MiB of 4 KiB pages.
const CHECKPOINT_PAGES: u32 = 16_000;
/// Prepared statements kept per connection.
pub(super) const STATEMENTS: usize = 128;

/// What a commit has survived when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// A power cut.
    Full,
    /// `kill -9`; something else (the journal) covers a power cut.
    Normal,
    /// `kill -9`; and a power cut within 10 ms: the log is synced behind.
    Behind,
}

/// A database file. Cheap to clone; closed by [`SqliteFile::close`].
#[derive(Debug, Clone)]
pub struct SqliteFile {
    writer: mpsc::Sender<Message>,
    readers: Arc<Readers>,
}

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl SqliteFile {
    /// Opens or creates `path` and brings it to the last of `migrations`.
    ///
    /// # Errors
    /// When the file cannot be opened, is newer than `migrations`, or a
    /// migration fails.
    pub fn open(
        path: &Path,
        migrations: &'static [Migration],
        synchronous: Synchronous,
    ) -> Result<Self, OpenError> {
        let opened = |source| OpenError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open(path).map_err(opened)?;
        prepare_writer(&connection, synchronous).map_err(opened)?;
        migrate(&mut connection, path, migrations)?;
        let thread = |source| OpenError::Thread {
            path: path.to_owned(),
            source,
        };
        let behind = match synchronous {
            Synchronous::Behind => Some(Behind::start(path).map_err(thread)?),
            Synchronous::Full | Synchronous::Normal => None,
        };
        let (writer, jobs) = mpsc::channel(QUEUE);
        let name = path.file_name().map_or_else(
            || "sqlite".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        std::thread::Builder::new()
            .name(name)
            .spawn(move || run_writer(connection, jobs, behind))
            .map_err(thread)?;
        Ok(Self {
            writer,
            readers: Arc::new(Readers::new(path)),
        })
    }

    /// Runs `work` in a transaction and returns after its commit. `work` may
    /// share the transaction with others; its own error undoes its part alone.
    ///
    /// # Errors
    /// When `work` or the commit failed: nothing of it is kept.
    pub async fn write<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = TypedJob::new(work);
        self.writer
            .send(Message::Job(Box::new(job)))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// [`SqliteFile::write`] for a plain thread.
    ///
    /// # Errors
    /// As [`SqliteFile::write`].
    pub fn write_blocking<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (job, answer) = TypedJob::new(work);
        self.writer
            .blocking_send(Message::Job(Box::new(job)))
            .map_err(|_| closed())?;
        answer.blocking_recv().map_err(|_| closed())?
    }

    /// Runs `work` on a read-only connection, off the async threads.
    ///
    /// # Errors
    /// When `work` failed.
    pub async fn read<T, F>(&self, work: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        let permit = Arc::clone(&readers.permits)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = readers.take().map_err(port_error)?;
            let result = work(&connection);
            readers.give(connection);
            result.map_err(port_error)
        })
        .await
        .map_err(PortError::unavailable)?
    }

    /// Whether the file takes writes now.
    ///
    /// # Errors
    /// When it does not, such as while another process holds its lock.
    pub async fn probe(&self) -> Result<(), PortError> {
        self.write(|_| Ok(())).await
    }

    /// Finishes what was queued, checkpoints the log and closes the writer.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.writer.send(Message::Close(done)).await.is_ok() {
            closed.await.ok();
        }
    }
}

/// Translates SQLite's error for a caller that knows no engine.
pub(crate) fn port_error(error: rusqlite::Error) -> PortError {
    let corrupt = matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
    );
    if corrupt {
        PortError::Corrupt(error.to_string())
    } else {
        PortError::unavailable(error)
    }
}

fn closed() -> PortError {
    PortError::unavailable("the database is closed")
}

/// Lets a statement's plan hold for all values. Without it SQLite prepares a
/// statement again for each value that it compares with the condition of a
/// partial index.
pub(super) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn prepare_writer(connection: &Connection, synchronous: Synchronous) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    keep_plans(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let (level, checkpoint_pages) = match synchronous {
        Synchronous::Full => ("FULL", CHECKPOINT_PAGES),
        Synchronous::Normal => ("NORMAL", CHECKPOINT_PAGES),
        // A thread of its own checkpoints: a commit never waits for that.
        Synchronous::Behind => ("NORMAL", 0),
    };
    connection.pragma_update(None, "synchronous", level)?;
    connection.pragma_update(None, "wal_autocheckpoint", checkpoint_pages)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

trait Job: Send {
    fn run(&mut self, connection: &Connection) -> bool;
    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>);
}

struct TypedJob<T, F> {
    work: Option<F>,
    result: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, PortError>>,
}

impl<T, F> TypedJob<T, F> {
    fn new(work: F) -> (Self, oneshot::Receiver<Result<T, PortError>>) {
        let (reply, answer) = oneshot::channel();
        let job = Self {
            work: Some(work),
            result: None,
            reply,
        };
        (job, answer)
    }
}

impl<T, F> Job for TypedJob<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(connection));
        matches!(self.result, Some(Ok(_)))
    }

    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>) {
        let outcome = match (self.result, committed) {
            (Some(Err(error)), _) => Err(port_error(error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(PortError::unavailable(error.to_string())),
            (None, Ok(())) => Err(closed()),
        };
        // The caller may have gone; the write stands all the same.
        self.reply.send(outcome).ok();
    }
}

fn run_writer(connection: Connection, mut jobs: mpsc::Receiver<Message>, behind: Option<Behind>) {
    let mut group: Vec<Box<dyn Job>> = Vec::with_capacity(GROUP);
    let mut closing = None;
    while closing.is_none() {
        match jobs.blocking_recv() {
            Some(Message::Job(job)) => group.push(job),
            Some(Message::Close(done)) => closing = Some(done),
            None => break,
        }
        while closing.is_none() && group.len() < GROUP {
            match jobs.try_recv() {
                Ok(Message::Job(job)) => group.push(job),
                Ok(Message::Close(done)) => closing = Some(done),
                Err(_) => break,
            }
        }
        commit(&connection, &mut group);
        if let Some(behind) = &behind {
            behind.committed();
        }
    }
    drop(behind);
    // A failed checkpoint costs nothing: the log is replayed at the next start.
    connection
        .pragma_update(None, "wal_checkpoint", "TRUNCATE")
        .ok();
    drop(connection);
    if let Some(done) = closing {
        done.send(()).ok();
    }
}

fn commit(connection: &Connection, group: &mut Vec<Box<dyn Job>>) {
    if group.is_empty() {
        return;
    }
    let outcome = run_group(connection, group);
    if outcome.is_err() && !connection.is_autocommit() {
        // SQLite rolls back by itself after some errors and not after others.
        connection.execute_batch("ROLLBACK").ok();
    }
    for job in group.drain(..) {
        job.finish(outcome.as_ref().copied());
    }
}

fn run_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    run("BEGIN IMMEDIATE")?;
    for job in group {
        run("SAVEPOINT job")?;
        if !job.run(connection) {
            run("ROLLBACK TO job")?;
        }
        run("RELEASE job")?;
    }
    run("COMMIT")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &[Migration] = &[Migration {
        name: "0001_t",
        sql: "CREATE TABLE t (x INTEGER PRIMARY KEY);",
    }];

    fn open() -> (tempfile::TempDir, SqliteFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = SqliteFile::open(&dir.path().join("t.db"), SCHEMA, Synchronous::Full).unwrap();
        (dir, file)
    }

    async fn insert(file: &SqliteFile, x: i64) -> Result<usize, PortError> {
        file.write(move |db| db.execute("INSERT INTO t VALUES (?1)", [x]))
            .await
    }

    async fn count(file: &SqliteFile) -> i64 {
        file.read(|db| db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_statement_is_prepared_once_whatever_its_values() {
        let (_dir, file) = open();
        let again = file.write(|db| {
            db.execute_batch(
                "CREATE TABLE u (x INTEGER, state TEXT);
                 CREATE INDEX pending ON u (x) WHERE state = 'pending';",
            )?;
            let mut statement = db.prepare("SELECT count(*) FROM u WHERE state = ?1 AND x = ?2")?;
            for state in ["pending", "done", "pending"] {
                statement.query_row((state, 1), |row| row.get::<_, i64>(0))?;
            }
            Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
        });
        assert_eq!(again.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_failed_job_undoes_itself_and_not_its_neighbours() {
        let (_dir, file) = open();
        insert(&file, 1).await.unwrap();
        let broken = file.write(|db| {
            db.execute("INSERT INTO t VALUES (7)", [])?;
            db.execute("INSERT INTO t VALUES (1)", [])
        });
        let (broken, fine) = tokio::join!(broken, insert(&file, 2));
        assert!(broken.is_err());
        fine.unwrap();
        assert_eq!(count(&file).await, 2);
    }

    #[tokio::test]
    async fn a_locked_file_fails_the_write_and_recovers() {
        let (dir, file) = open();
        let other = Connection::open(dir.path().join("t.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(matches!(
            insert(&file, 1).await,
            Err(PortError::Unavailable(_))
        ));
        other.execute_batch("ROLLBACK").unwrap();
        insert(&file, 1).await.unwrap();
        assert_eq!(count(&file).await, 1);
    }

    #[tokio::test]
    async fn close_finishes_what_was_queued() {
        let (dir, file) = open();
        insert(&file, 1).await.unwrap();
        file.close().await;
        assert!(insert(&file, 2).await.is_err());
        let reopened =
            SqliteFile::open(&dir.path().join("t.db"), SCHEMA, Synchronous::Full).unwrap();
        assert_eq!(count(&reopened).await, 1);
    }
}
