//! How a broker that is not ours hears that a device's sessions must end.

use dormouse_core::ids::DeviceId;

/// What a broker must be told about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Revocation {
    /// Its sessions end, and it may not come back.
    Banned,
    /// Its sessions end; it may come back with its new credentials.
    Replaced,
    /// It may come in again.
    Restored,
}

/// Tells a broker. Never blocks: what is told is queued and tried until it is
/// done.
pub trait Revoker: std::fmt::Debug + Send + Sync + 'static {
    /// Tells the broker about `device`.
    fn tell(&self, device: &DeviceId, what: Revocation);
}
