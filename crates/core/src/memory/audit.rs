//! The audit log in a map.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use uuid::Uuid;

use super::lock;
use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::ports::{AuditQuery, AuditStore, PortError};

/// Audit entries in order of their ids.
#[derive(Debug, Default)]
pub struct MemoryAudit(Mutex<BTreeMap<Uuid, AuditEntry>>);

#[async_trait]
impl AuditStore for MemoryAudit {
    async fn append(&self, entries: Vec<AuditEntry>) -> Result<(), PortError> {
        let mut log = lock(&self.0);
        for entry in entries {
            log.entry(entry.id).or_insert(entry);
        }
        Ok(())
    }

    async fn query(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, PortError> {
        let log = lock(&self.0);
        let found = log.values().rev().filter(|entry| admits(&query, entry));
        Ok(found.take(query.limit).cloned().collect())
    }

    async fn prune(&self, before: Timestamp) -> Result<usize, PortError> {
        let mut log = lock(&self.0);
        let count = log.len();
        log.retain(|_, entry| entry.ts >= before);
        Ok(count - log.len())
    }
}

fn admits(query: &AuditQuery, entry: &AuditEntry) -> bool {
    let action_fits = |wanted: &str| {
        entry
            .action
            .strip_prefix(wanted)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    query.before.is_none_or(|before| entry.id < before)
        && query.from.is_none_or(|from| entry.ts >= from)
        && query.to.is_none_or(|to| entry.ts < to)
        && query.action.as_deref().is_none_or(action_fits)
        && query.target.as_ref().is_none_or(|it| *it == entry.target)
        && query
            .actor
            .as_deref()
            .is_none_or(|it| entry.actor.origin.name() == Some(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_audit_store_contract() {
        crate::contract::audit_store(&MemoryAudit::default()).await;
    }
}
