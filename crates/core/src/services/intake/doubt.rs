//! A batch whose commit got no answer: kept or not, nobody can tell until the
//! store is asked.

use crate::ids::DeviceKey;
use crate::ports::intake::{InboxVersion, IntakeBatch, StoredInbox};

/// What tells later whether a batch was kept: one inbox that it wrote, with a
/// mark that no other attempt has. Where a batch wrote none, doing it again
/// changes nothing.
#[derive(Debug)]
pub(super) struct Doubt {
    device: DeviceKey,
    before: InboxVersion,
    bytes: Box<[u8]>,
    /// How many entries of the journal the batch has become.
    pub(super) entries: usize,
}

impl Doubt {
    /// About `batch`, which is `entries` of the journal, and whose devices'
    /// inboxes have these versions before it.
    pub(super) fn about(
        batch: &IntakeBatch,
        version_of: impl Fn(DeviceKey) -> InboxVersion,
        entries: usize,
    ) -> Option<Self> {
        let (device, bytes) = batch.inboxes.first()?;
        Some(Self {
            device: *device,
            before: version_of(*device),
            bytes: bytes.clone(),
            entries,
        })
    }

    /// What to ask the store about.
    pub(super) const fn known(&self) -> (DeviceKey, InboxVersion) {
        (self.device, self.before)
    }

    /// Whether the batch was kept, if this is what changed since.
    pub(super) fn is_settled_by(&self, changed: &[StoredInbox]) -> bool {
        changed.iter().any(|it| {
            it.device == self.device && it.version == self.before + 1 && it.bytes == self.bytes
        })
    }
}
