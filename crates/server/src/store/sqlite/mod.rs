//! SQLite: one file, one writer thread with group commit, a few readers.
//!
//! Writes that wait together share one transaction, each in a savepoint of its
//! own, and are answered after the commit. Readers see the last commit and
//! never wait for the writer (WAL).

mod file;
mod schema;

pub use file::{SqliteFile, Synchronous};
pub use schema::{Migration, OpenError};
