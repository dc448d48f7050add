//! Hints from node to node: each may be lost, none may be needed.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::device::Reported;
use crate::ids::{CommandId, DeviceKey};
use crate::ports::nodes::NodeId;

/// What one node tells the others. A kind that a node does not know, of a
/// newer one beside it, is passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Hint {
    /// These commands moved.
    Moved {
        /// Which ones.
        commands: Vec<CommandId>,
    },
    /// Devices, or the join key, changed in the store.
    Devices,
    /// What devices say of themselves by now.
    Reported {
        /// Each device's report.
        reports: Vec<(DeviceKey, Arc<Reported>)>,
    },
    /// What this node's watchers want to hear; said again every few seconds.
    Watching {
        /// Which node.
        node: NodeId,
        /// Their topics; none where nobody watches.
        topics: Vec<String>,
    },
    /// Messages for the watchers of every node.
    Live {
        /// Each message: what it is about, and itself as JSON.
        messages: Vec<(crate::live::About, String)>,
    },
    /// Messages for watchers were lost: they need new snapshots.
    LiveGap,
}

impl Hint {
    /// The hint as it travels; `None` where it cannot be written.
    #[must_use]
    pub fn encode(&self) -> Option<Bytes> {
        serde_json::to_vec(self).ok().map(Bytes::from)
    }

    /// Reads a hint; `None` where this node does not understand it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
