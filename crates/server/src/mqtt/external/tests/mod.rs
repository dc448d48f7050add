//! The link against a real Mosquitto.
#![expect(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    reason = "tests spawn nodes and wait by the real clock for another process"
)]

mod arriving;
mod leases;
mod nodes;
mod refusals;
mod retained;
mod script;
mod sending;
mod support;
