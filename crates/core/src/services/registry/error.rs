//! What can go wrong with devices.

use crate::device::{BrokenRule, DeviceState};
use crate::ids::DeviceId;
use crate::ports::PortError;

/// Why a change to a device was refused; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No device has this id.
    #[error("no device '{0}'")]
    Unknown(DeviceId),
    /// A device has this id already.
    #[error("there is already a device '{0}'")]
    Taken(DeviceId),
    /// Settings broke rules.
    #[error("the settings break a rule")]
    Invalid(Vec<BrokenRule>),
    /// The device is not the version that the change was meant for.
    #[error("the device is at version {current} now; read it again")]
    Stale {
        /// The version it has.
        current: u32,
    },
    /// Only a device in the inbox can be approved or rejected.
    #[error("device '{id}' is {}, not waiting in the inbox", state.as_str())]
    NotWaiting {
        /// Which.
        id: DeviceId,
        /// Where it stands.
        state: DeviceState,
    },
    /// A device in the inbox has no credentials to replace.
    #[error("device '{id}' is {}; approve it first", state.as_str())]
    NotActive {
        /// Which.
        id: DeviceId,
        /// Where it stands.
        state: DeviceState,
    },
    /// Somebody else changed the device at the same moment.
    #[error("somebody else changed the device at the same moment; try again")]
    Contended,
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Why a device may not connect.
#[derive(Debug, thiserror::Error)]
pub enum AuthRefused {
    /// The name or the password is wrong.
    #[error("wrong name or password")]
    BadCredentials,
    /// The join key is right, but the mode is `closed`.
    #[error("joining is closed")]
    Closed,
    /// The join key is right, but too many wait already.
    #[error("the inbox is full")]
    InboxFull,
    /// The join key is right, but this id was rejected before.
    #[error("the device was rejected")]
    Rejected,
    /// The platform cannot tell now.
    #[error(transparent)]
    Unavailable(#[from] PortError),
}
