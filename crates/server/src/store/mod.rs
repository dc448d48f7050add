//! The database adapters: they implement ports and know no HTTP.

mod commands;
mod convert;
pub mod postgres;
pub mod sqlite;
