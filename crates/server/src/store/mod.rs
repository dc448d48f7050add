//! The database adapters: they implement ports and know no HTTP.

mod commands;
mod convert;
pub mod moving;
pub mod postgres;
#[cfg(test)]
mod same;
pub mod sqlite;
