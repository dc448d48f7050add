//! The port that keeps devices.

use std::sync::Arc;

use async_trait::async_trait;

use super::PortError;
use crate::clock::Timestamp;
use crate::device::{Device, DeviceSettings, DeviceState, Reported};
use crate::ids::{DeviceId, DeviceKey};
use crate::secret::DeviceDigest;

/// How a device may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAccess {
    /// Not at all: it was never given credentials, or they were revoked.
    None,
    /// With the join key, until the credentials handed over are first used.
    Joining(Option<DeviceDigest>),
    /// With its own credentials only.
    Credentials(DeviceDigest),
}

/// A device with what is not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDevice {
    /// The device.
    pub device: Device,
    /// How it may sign in.
    pub access: DeviceAccess,
    /// Rises over all devices with each write, edits and tombstones alike;
    /// set by the store.
    pub revision: i64,
}

/// A device to add.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDevice {
    /// Its public name.
    pub id: DeviceId,
    /// Where it starts.
    pub state: DeviceState,
    /// What people set.
    pub settings: DeviceSettings,
    /// How it may sign in.
    pub access: DeviceAccess,
    /// When it is added.
    pub created_at: Timestamp,
}

/// Devices to write in one go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceWrites {
    /// Devices to add, with keys never used before and version 1.
    pub insert: Vec<NewDevice>,
    /// Devices to replace state, settings, access and version of: each must
    /// still be stored at one version below the new one.
    pub swap: Vec<StoredDevice>,
}

/// What became of [`DeviceWrites`].
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// All was written: the inserted devices, then the swapped ones, in the
    /// orders given.
    All(Vec<StoredDevice>),
    /// Nothing was: this id is taken by a device that is not deleted.
    Taken(DeviceId),
    /// Nothing was: a device to swap is at another version, or gone.
    Stale,
}

/// Keeps devices.
#[async_trait]
pub trait DeviceStore: Send + Sync + 'static {
    /// All devices whose revision is above `revision`, tombstones included,
    /// in order of revision.
    async fn changed_since(&self, revision: i64) -> Result<Vec<StoredDevice>, PortError>;

    /// Writes all of `writes` or nothing. Atomic. Keeps the stored reports.
    async fn write(&self, writes: DeviceWrites) -> Result<Written, PortError>;

    /// Keeps the last reports; moves neither version nor revision.
    async fn save_reports(&self, reports: Vec<(DeviceKey, Arc<Reported>)>)
    -> Result<(), PortError>;

    /// Turns [`DeviceAccess::Joining`] with a digest into
    /// [`DeviceAccess::Credentials`] for each pair that still matches; moves
    /// the revision and not the version.
    async fn settle_joined(&self, joined: Vec<(DeviceKey, DeviceDigest)>) -> Result<(), PortError>;
}
