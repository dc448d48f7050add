//! Forward-only migrations, counted in `user_version`.

use std::path::PathBuf;

use rusqlite::{Connection, TransactionBehavior};

/// One step of a file's schema; its position in the list is its number.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The migration's file name without its extension.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// Why a database file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite refused.
    #[error("cannot open {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// A migration failed; the file is as it was before that migration.
    #[error("migration {name} of {path} failed: {source}")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The migration.
        name: &'static str,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The file was written by a newer Dormouse.
    #[error(
        "{path} has schema {found}, this Dormouse knows up to {known}: start the newer version, or restore a backup"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema number found.
        found: usize,
        /// The highest number known.
        known: usize,
    },
    /// A thread could not be started.
    #[error("cannot start the writer of {path}: {source}")]
    Thread {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

/// Brings `connection` to the last of `migrations`, each in a transaction.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &std::path::Path,
    migrations: &[Migration],
) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite {
        path: path.to_owned(),
        source,
    };
    loop {
        // Two processes may start together: the version is read under the lock.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sqlite)?;
        let version: i64 = transaction
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(sqlite)?;
        let done = usize::try_from(version).unwrap_or(0);
        if done > migrations.len() {
            return Err(OpenError::Newer {
                path: path.to_owned(),
                found: done,
                known: migrations.len(),
            });
        }
        let Some(next) = migrations.get(done) else {
            return Ok(());
        };
        let failed = |source| OpenError::Migration {
            path: path.to_owned(),
            name: next.name,
            source,
        };
        transaction.execute_batch(next.sql).map_err(failed)?;
        transaction
            .execute_batch(&format!("PRAGMA user_version = {}", done + 1))
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ONE: Migration = Migration {
        name: "0001_a",
        sql: "CREATE TABLE a (x INTEGER);",
    };
    const BROKEN: Migration = Migration {
        name: "0002_b",
        sql: "CREATE TABLE b (x INTEGER); CREATE TABLE a (x INTEGER);",
    };

    #[test]
    fn migrations_run_once_and_a_broken_one_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("t"), &[ONE]).unwrap();
        migrate(&mut connection, Path::new("t"), &[ONE]).unwrap();
        let error = migrate(&mut connection, Path::new("t"), &[ONE, BROKEN]).unwrap_err();
        assert!(error.to_string().contains("0002_b"), "{error}");
        assert!(connection.prepare("SELECT * FROM b").is_err());
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("t"), &[ONE]).unwrap();
        let error = migrate(&mut connection, Path::new("t"), &[]).unwrap_err();
        assert!(matches!(
            error,
            OpenError::Newer {
                found: 1,
                known: 0,
                ..
            }
        ));
    }
}
