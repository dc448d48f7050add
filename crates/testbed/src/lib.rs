//! Private servers for tests: each on free loopback ports, in a temporary
//! folder of its own, ended when dropped.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    reason = "only tests use this crate, and it waits for other processes by the real clock"
)]

pub mod certificates;
mod child;
pub mod emqx;
pub mod mosquitto;
mod npm;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
pub mod timescale;

use std::net::{Ipv4Addr, TcpListener};

pub use child::Guarded;

/// A loopback TCP port that was free a moment ago.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
