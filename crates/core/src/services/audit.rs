//! Writes the audit log: at once for changes people make, queued for the
//! many commands a second.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::access::Actor;
use crate::audit::AuditEntry;
use crate::clock::{Clock, Timestamp};
use crate::ids::uuid_v7;
use crate::ports::{AuditQuery, AuditStore, PortError};

/// Entries waiting to be written; beyond it they are counted, and the count
/// is written as an entry of its own.
const QUEUE: usize = 65_536;
/// Entries written in one go.
const BATCH: usize = 1_024;
/// How long entries are kept unless configured otherwise.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(2 * 365 * 24 * 3_600);

/// The audit log.
pub struct AuditLog {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<AuditEntry>,
    lost: u64,
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

impl AuditLog {
    /// A log over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            queue: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Writes an entry and returns once it is stored.
    ///
    /// # Errors
    /// When the store cannot take it.
    pub async fn write(
        &self,
        actor: &Actor,
        action: &'static str,
        target: String,
        data: Value,
    ) -> Result<(), PortError> {
        let entry = self.entry(actor.clone(), action, target, data);
        self.store.append(vec![entry]).await
    }

    /// Queues an entry for [`AuditLog::flush`]; never waits.
    pub fn record(&self, actor: Actor, action: &'static str, target: String, data: Value) {
        let entry = self.entry(actor, action, target, data);
        {
            let mut queue = self.lock();
            if queue.entries.len() < QUEUE {
                queue.entries.push_back(entry);
            } else {
                queue.lost += 1;
            }
        }
        self.filled.notify_one();
    }

    /// Returns when something is queued.
    pub async fn filled(&self) {
        if self.lock().entries.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Writes all that is queued.
    ///
    /// # Errors
    /// When the store cannot take it; what was not written stays queued.
    pub async fn flush(&self) -> Result<(), PortError> {
        loop {
            let (batch, lost) = self.take();
            if batch.is_empty() && lost == 0 {
                return Ok(());
            }
            let mut entries = batch.clone();
            if lost > 0 {
                let data = json!({ "entries": lost });
                entries.push(self.entry(Actor::server(), "audit.lost", "audit".to_owned(), data));
            }
            if let Err(error) = self.store.append(entries).await {
                self.give_back(batch, lost);
                return Err(error);
            }
        }
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn query(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, PortError> {
        self.store.query(query).await
    }

    /// Removes entries older than `keep`; says how many.
    ///
    /// # Errors
    /// When the store cannot do it.
    pub async fn prune(&self, keep: Duration) -> Result<usize, PortError> {
        self.store.prune(self.clock.now() - keep).await
    }

    fn entry(&self, actor: Actor, action: &'static str, target: String, data: Value) -> AuditEntry {
        let ts: Timestamp = self.clock.now();
        AuditEntry {
            id: uuid_v7(ts),
            ts,
            actor,
            action: Cow::Borrowed(action),
            target,
            data,
        }
    }

    fn take(&self) -> (Vec<AuditEntry>, u64) {
        let mut queue = self.lock();
        let count = queue.entries.len().min(BATCH);
        let batch = queue.entries.drain(..count).collect();
        (batch, std::mem::take(&mut queue.lost))
    }

    fn give_back(&self, batch: Vec<AuditEntry>, lost: u64) {
        let mut queue = self.lock();
        for entry in batch.into_iter().rev() {
            queue.entries.push_front(entry);
        }
        queue.lost += lost;
    }

    /// No code here can panic between two writes, so a poisoned lock holds good data.
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::memory::MemoryAudit;

    fn log() -> (AuditLog, Arc<MemoryAudit>) {
        let store = Arc::new(MemoryAudit::default());
        let log = AuditLog::new(store.clone(), Arc::new(ManualClock::default()));
        (log, store)
    }

    fn all() -> AuditQuery {
        AuditQuery {
            limit: usize::MAX,
            ..AuditQuery::default()
        }
    }

    #[tokio::test]
    async fn what_is_recorded_is_there_after_a_flush() {
        let (log, _) = log();
        for n in 0..3_000 {
            log.record(
                Actor::server(),
                "command.send",
                format!("device:{n}"),
                Value::Null,
            );
        }
        log.filled().await;
        log.flush().await.unwrap();
        assert_eq!(log.query(all()).await.unwrap().len(), 3_000);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_in_the_log() {
        let (log, _) = log();
        for _ in 0..QUEUE + 5 {
            log.record(Actor::server(), "command.send", String::new(), Value::Null);
        }
        log.flush().await.unwrap();
        let lost = AuditQuery {
            action: Some("audit.lost".to_owned()),
            ..all()
        };
        assert_eq!(
            log.query(lost).await.unwrap()[0].data,
            json!({ "entries": 5 })
        );
    }
}
