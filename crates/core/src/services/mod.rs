//! What the platform does, as services over ports and a clock.

pub mod access;
pub mod audit;
pub mod dispatcher;
pub mod drain;
pub mod events;
pub mod fleet;
pub mod fleet_curve;
pub mod history;
pub mod incidents;
pub mod ingest;
pub mod intake;
pub mod nodes;
pub mod presence;
pub mod refill;
pub mod registry;
pub mod retention;
pub mod statistics;
