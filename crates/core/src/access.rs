//! Who may do what.

use serde::{Deserialize, Serialize};

/// What a person or a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// A part of the location tree: control, schedules, devices.
    Manager,
    /// Reads a part of the location tree.
    Viewer,
    /// One room: sees and switches it.
    Resident,
}
