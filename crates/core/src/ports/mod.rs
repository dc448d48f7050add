//! What the core needs from the outside world.
//!
//! A port is small, speaks domain types only and never names an engine.
//! Atomicity is part of a method's contract. Every implementation passes the
//! same suite in `crate::contract`; the in-memory ones in
//! [`crate::memory`] are product code and test doubles at once.

mod audit;
mod commands;
mod devices;
mod event;
pub mod history;
pub mod hot;
pub mod intake;
pub mod journal;
mod links;
pub mod nodes;
mod people;
mod site;

pub use audit::{AuditQuery, AuditStore};
pub use commands::{
    CommandSink, CommandStore, CommandWrite, CommandWritten, IdempotencyKey, Made, NotSent,
    OutboundCommand, Remembered,
};
pub use devices::{DeviceAccess, DeviceStore, DeviceWrites, NewDevice, StoredDevice, Written};
pub use event::{EventMirror, EventQuery, EventStore, IncidentQuery, IncidentStore};
pub use links::{DeviceChange, DeviceView, DeviceWatcher, EnrolSink, KickReason, SessionControl};
pub use people::{
    NewSession, NewToken, NewUser, PasswordHasher, Revoked, SessionStore, TokenStore, UserStore,
    UserWrite,
};
pub use site::{Setting, SettingStore};

use std::error::Error;

/// Why a port could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The backend is down, full or too slow. Trying again later may work.
    #[error("backend unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The backend answered with something that cannot be used.
    #[error("backend returned bad data: {0}")]
    Corrupt(String),
    /// The backend works, and refuses what it was given for what it is: the
    /// same will be refused again.
    #[error("backend refuses the data: {0}")]
    Refused(String),
}

impl PortError {
    /// Wraps a backend's own error as [`PortError::Unavailable`].
    pub fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }

    /// Whether the data is what is wrong, and not the backend.
    #[must_use]
    pub const fn is_of_the_data(&self) -> bool {
        match self {
            Self::Unavailable(_) => false,
            Self::Corrupt(_) | Self::Refused(_) => true,
        }
    }
}
