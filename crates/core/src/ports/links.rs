//! Small ports by which devices and their sessions reach other parts.

use async_trait::async_trait;

use super::hot::Latest;
use crate::device::Device;
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey};
use crate::presence::Presence;
use crate::services::ingest::Refusals;
use crate::wire::EnrolBody;

/// Why a device's session is closed by the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KickReason {
    /// Its credentials were replaced.
    CredentialsChanged,
    /// Its credentials were taken away.
    Revoked,
    /// The device was deleted.
    Deleted,
    /// It was refused in the inbox, or the join key changed.
    Refused,
}

/// Ends sessions of devices.
pub trait SessionControl: Send + Sync + 'static {
    /// Closes every session of `device` at once: nothing is published,
    /// no will, and nothing queued is delivered after this returns.
    fn kick(&self, device: &DeviceId, reason: KickReason);
}

/// Hands credentials to devices that joined with the key.
pub trait EnrolSink: Send + Sync + 'static {
    /// Publishes on the device's `enrol` topic, never retained; says whether
    /// a live session took it.
    fn hand_over(&self, device: &DeviceId, credentials: &EnrolBody) -> bool;
}

/// What other parts know of devices by the second. Asked for whole pages, so
/// that an engine behind a network is asked once.
#[async_trait]
pub trait DeviceView: Send + Sync + 'static {
    /// Whether it is there.
    fn presence(&self, device: DeviceKey) -> Presence;

    /// What each of `devices` measured last, in their order; empty where
    /// nothing was, or nobody can tell now.
    async fn latest(&self, devices: &[DeviceKey]) -> Vec<Vec<Latest>>;

    /// Which of its messages were refused; `None` where none was.
    fn refusals(&self, _device: DeviceKey) -> Option<Refusals> {
        None
    }

    /// What each of `devices` used since local midnight, Wh, in their order.
    async fn energy_today_wh(&self, devices: &[DeviceKey]) -> Vec<Option<f64>>;
}

/// What changed about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceChange {
    /// It is new, in the inbox or taken at once.
    Added,
    /// It was taken from the inbox.
    Approved,
    /// It was refused in the inbox.
    Rejected,
    /// Its settings changed.
    Edited,
    /// Its credentials were replaced or revoked.
    CredentialsChanged,
    /// Credentials were handed over to it.
    HandedOver,
    /// It was deleted.
    Deleted,
}

/// Hears of changes to devices after they are stored. Must not block.
pub trait DeviceWatcher: Send + Sync + 'static {
    /// `device` changed and is now as given.
    fn changed(&self, device: &Device, change: DeviceChange, by: &Origin);

    /// `device` reported itself here and is now as given.
    fn reported(&self, _device: &Device) {}
}
