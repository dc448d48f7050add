//! PostgreSQL and TimescaleDB: one database that several nodes share.
//!
//! Every write is one statement or one transaction. What two nodes may do at
//! once is put in order by row locks and advisory locks, always taken in the
//! same order, so that nobody waits for each other.

mod audit;
mod commands;
mod connect;
mod convert;
mod devices;
mod error;
mod events;
mod facts;
mod history;
mod incidents;
mod leases;
mod people;
mod pool;
mod schema;
mod session;
mod sessions;
mod site;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;
mod url;

pub use audit::PostgresAudit;
pub use commands::PostgresCommands;
pub use devices::PostgresDevices;
pub use error::OpenError;
pub use events::PostgresEvents;
pub use history::{
    HISTORY, Maintenance, MaintenanceReport, PartKeeper, PostgresHistory, PostgresIntake,
    StepReport,
};
pub use incidents::PostgresIncidents;
pub use leases::PostgresLeases;
pub use people::PostgresPeople;
pub use pool::{Postgres, PostgresSettings};
pub use schema::{Area, Code, DORMOUSE, Flavour, Migration, Work};
pub use site::PostgresSettingStore;
