//! The rules of the platform, with no I/O in them.
//!
//! Architecture invariant: this crate opens no socket, file or database, and
//! never asks the operating system for the time.

pub mod access;
pub mod acl;
pub mod audit;
pub mod bucket;
pub mod clock;
pub mod command;
pub mod completeness;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod decode;
pub mod device;
pub mod directory;
pub mod energy;
pub mod event;
pub mod health;
pub mod ids;
pub mod incident;
pub mod live;
pub mod location;
pub mod memory;
pub mod ports;
pub mod presence;
pub mod record;
pub mod reported;
pub mod retention;
pub mod ring;
pub mod rollup;
pub mod sample;
pub mod secret;
pub mod services;
pub mod site;
pub mod topic;
mod varint;
pub mod wire;
