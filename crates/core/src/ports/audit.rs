//! The port that keeps the audit log.

use async_trait::async_trait;
use uuid::Uuid;

use super::PortError;
use crate::audit::AuditEntry;
use crate::clock::Timestamp;

/// Which entries to read; every field narrows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditQuery {
    /// Only of the person or token with this name.
    pub actor: Option<String>,
    /// Only this action, or all that begin with it and a dot.
    pub action: Option<String>,
    /// Only to this target.
    pub target: Option<String>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
    /// Only entries older than this one.
    pub before: Option<Uuid>,
    /// At most this many.
    pub limit: usize,
}

/// Keeps the audit log.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Appends entries; one that is already there changes nothing.
    async fn append(&self, entries: Vec<AuditEntry>) -> Result<(), PortError>;

    /// Entries, newest first.
    async fn query(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, PortError>;

    /// Removes entries older than `before`; says how many.
    async fn prune(&self, before: Timestamp) -> Result<usize, PortError>;
}
