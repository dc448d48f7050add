//! The database adapters: they implement ports and know no HTTP.

pub mod postgres;
pub mod sqlite;
