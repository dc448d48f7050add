//! The audit log's entries: who changed what, when, and from where.

use std::borrow::Cow;

use serde_json::Value;
use uuid::Uuid;

use crate::access::Actor;
use crate::clock::Timestamp;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Which entry: a `UUIDv7`, so that ids sort by time.
    pub id: Uuid,
    /// When.
    pub ts: Timestamp,
    /// Who, and from where.
    pub actor: Actor,
    /// What was done, such as `device.add` or `command.send`.
    pub action: Cow<'static, str>,
    /// To what, such as `device:A-302-strip01`.
    pub target: String,
    /// Details, free in form; never a secret.
    pub data: Value,
}
