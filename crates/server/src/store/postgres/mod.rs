//! PostgreSQL and TimescaleDB: one database that several nodes share.
//!
//! Every write is one statement or one transaction. What two nodes may do at
//! once is put in order by row locks and advisory locks, always taken in the
//! same order, so that nobody waits for each other.

mod connect;
#[expect(dead_code, reason = "for the adapters")]
mod convert;
mod error;
mod history;
mod pool;
mod schema;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod url;

pub use error::OpenError;
pub use history::{HISTORY, PostgresHistory};
pub use pool::{Postgres, PostgresSettings};
pub use schema::{Area, Code, DORMOUSE, Flavour, Migration, Work};
