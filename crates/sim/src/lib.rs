//! Virtual power strips over real MQTT: for the demonstration, for tests and
//! for load.
//!
//! Reading order: [`scenario`] (how a fleet behaves), [`fleet`] (start it, poke
//! it), then `strip` (one strip as a pure state machine), `appliance` (what is
//! plugged in), `runner` (one strip's task) and `mqtt` (the small client below).

mod appliance;
pub mod cli;
mod clock;
mod counters;
mod credentials;
pub mod fault;
pub mod fleet;
mod load;
mod mqtt;
mod outbox;
mod random;
mod round;
mod runner;
pub mod scenario;
mod strip;
#[cfg(test)]
mod testbed;

pub use counters::Totals;
pub use load::LoadArgs;
pub use mqtt::LinkError;
