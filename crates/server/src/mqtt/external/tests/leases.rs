//! Leases in memory, by tokio's clock.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::{Fence, Lease, LeaseStore, NodeId};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Leases {
    rows: Mutex<BTreeMap<String, Row>>,
    down: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Row {
    holder: Option<(NodeId, Instant)>,
    fence: i64,
}

impl Row {
    fn live(&self) -> Option<(&NodeId, Duration)> {
        let (node, until) = self.holder.as_ref()?;
        let left = until.checked_duration_since(Instant::now())?;
        (!left.is_zero()).then_some((node, left))
    }
}

impl Leases {
    /// Lets every call fail, or work again.
    pub(super) fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    /// Gives `name` to `node`, whoever has it, as if it had run out.
    pub(super) fn steal(&self, name: &str, node: &str) {
        let mut rows = self.rows.lock().unwrap();
        let row = rows.entry(name.to_owned()).or_default();
        row.fence += 1;
        let until = Instant::now() + Duration::from_secs(3_600);
        row.holder = Some((NodeId(node.into()), until));
    }

    /// Ends the lease `name`, whoever has it.
    pub(super) fn release_all(&self, name: &str) {
        if let Some(row) = self.rows.lock().unwrap().get_mut(name) {
            row.holder = None;
        }
    }

    /// Who holds `name`.
    pub(super) fn holder(&self, name: &str) -> Option<NodeId> {
        let rows = self.rows.lock().unwrap();
        rows.get(name)?.live().map(|(node, _)| node.clone())
    }

    /// Which leases are known, held or not.
    pub(super) fn names(&self) -> Vec<String> {
        self.rows.lock().unwrap().keys().cloned().collect()
    }

    fn check(&self) -> Result<(), PortError> {
        if *self.down.lock().unwrap() {
            return Err(PortError::unavailable("down"));
        }
        Ok(())
    }
}

#[async_trait]
impl LeaseStore for Leases {
    async fn acquire(
        &self,
        name: &str,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Fence>, PortError> {
        self.check()?;
        let mut rows = self.rows.lock().unwrap();
        let row = rows.entry(name.to_owned()).or_default();
        let mine = match row.live() {
            Some((holder, _)) if holder != node => return Ok(None),
            Some(_) => true,
            None => false,
        };
        row.fence += i64::from(!mine);
        row.holder = Some((node.clone(), Instant::now() + ttl));
        Ok(Some(Fence(row.fence)))
    }

    async fn note(&self, _: &str, _: Fence, _: &str) -> Result<bool, PortError> {
        self.check().map(|()| false)
    }

    async fn release(&self, name: &str, fence: Fence) -> Result<(), PortError> {
        self.check()?;
        let mut rows = self.rows.lock().unwrap();
        if let Some(row) = rows.get_mut(name).filter(|row| row.fence == fence.0) {
            row.holder = None;
        }
        Ok(())
    }

    async fn remove(&self, name: &str, fence: Fence) -> Result<bool, PortError> {
        self.check()?;
        let mut rows = self.rows.lock().unwrap();
        let mine = rows.get(name).is_some_and(|row| row.fence == fence.0);
        if mine {
            rows.remove(name);
        }
        Ok(mine)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Lease>, PortError> {
        self.check()?;
        let rows = self.rows.lock().unwrap();
        let rows = rows.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(rows
            .map(|(name, row)| Lease {
                name: name.clone(),
                holder: row.live().map(|(node, _)| node.clone()),
                fence: Fence(row.fence),
                left: row.live().map(|(_, left)| left),
                over: None,
                note: None,
            })
            .collect())
    }

    async fn now(&self) -> Result<Timestamp, PortError> {
        self.check().map(|()| Timestamp::from_millis(0))
    }
}
