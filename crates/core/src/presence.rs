//! Who is there: the presence of one device as a state machine.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Whether a device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// Never heard of yet.
    Never,
    /// There.
    Online,
    /// Gone.
    Offline,
}

/// A device's presence, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Whether it is there.
    pub state: PresenceState,
    /// Since when; `None` while it was never heard of.
    pub since: Option<Timestamp>,
    /// Why it is so, such as `silence`, `will`, `disconnect`.
    pub reason: Option<String>,
    /// When it was heard last.
    pub last_seen: Option<Timestamp>,
}
