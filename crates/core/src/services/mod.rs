//! What the platform does, as services over ports and a clock.

pub mod drain;
pub mod ingest;
