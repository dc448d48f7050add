//! SQLite: one file, one writer thread with group commit, a few readers.
//!
//! Writes that wait together share one transaction, each in a savepoint of its
//! own, and are answered after the commit. Readers see the last commit and
//! never wait for the writer (WAL).

mod audit;
mod behind;
mod commands;
mod convert;
mod devices;
mod dormouse;
mod events;
mod file;
mod history;
mod incidents;
mod people;
mod readers;
mod schema;
mod sessions;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;

pub use audit::SqliteAudit;
pub use commands::SqliteCommands;
pub use devices::{SqliteDevices, SqliteSettings};
pub use dormouse::DORMOUSE;
pub use events::SqliteEvents;
pub use file::{SqliteFile, Synchronous};
pub(crate) use history::tails;
pub use history::{OpenHistoryError, SqliteHistory};
pub use incidents::SqliteIncidents;
pub use people::SqlitePeople;
pub use schema::{Migration, OpenError};
pub use snapshot::{Database, Snapshot, SnapshotError, check, counts};
