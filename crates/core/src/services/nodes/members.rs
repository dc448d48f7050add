//! Who the nodes are, and who of them is gone.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use super::Nodes;
use crate::clock::Timestamp;
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::nodes::{Lease, NodeId};

/// What the leases begin with that show which nodes are alive.
pub const NODE_PREFIX: &str = "node/";

/// One node of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which one.
    pub node: NodeId,
    /// Its version, where it told.
    pub version: Option<String>,
    /// Since when it runs, where it told; by its own clock.
    pub since: Option<Timestamp>,
    /// How long ago it showed that it is alive.
    pub seen_ago: Duration,
    /// What it does for all, in order of the leases' names.
    pub leases: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Members(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    alive: BTreeSet<NodeId>,
    introduced: bool,
    /// This node's clock less the database's, ms.
    clock_ahead_ms: i64,
}

impl Nodes {
    /// Looks who is alive. Call it every second.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look_around(&self) -> Result<(), PortError> {
        let leases = self.parts.leases.list(NODE_PREFIX).await?;
        let alive: BTreeSet<NodeId> = leases.iter().filter_map(holder).cloned().collect();
        self.introduce(&leases).await?;
        let gone: Vec<NodeId> = {
            let mut seen = lock(&self.members.0);
            let gone = seen.alive.difference(&alive).cloned().collect();
            seen.alive = alive;
            gone
        };
        for node in &gone {
            self.parts.presence.node_gone(Some(node));
        }
        let asked = self.parts.clock.now();
        let theirs = self.parts.leases.now().await?;
        let ours = asked + self.parts.clock.now().since(asked) / 2;
        lock(&self.members.0).clock_ahead_ms = ours.as_millis() - theirs.as_millis();
        Ok(())
    }

    /// How far this node's clock is ahead of the database's, ms. Shared
    /// deadlines go by the database's.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> i64 {
        lock(&self.members.0).clock_ahead_ms
    }

    /// Refuses what dead nodes left waiting and forgets them, and settles
    /// commands that nobody else did. Call it every few seconds; only the
    /// holder of the upkeep lease does something.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn clear_up(&self) -> Result<(), PortError> {
        if self.upkeep.held().is_none() {
            return Ok(());
        }
        self.parts.dispatcher.sweep_overdue().await?;
        // In this order: a node is alive before it takes a batch.
        let waiting = self.parts.dispatcher.nodes_with_waiting_items().await?;
        let leases = self.parts.leases.list(NODE_PREFIX).await?;
        let is_alive = |node: &NodeId| leases.iter().filter_map(holder).any(|it| it == node);
        let mut gone = waiting;
        gone.retain(|node| !is_alive(node));
        if !gone.is_empty() {
            self.parts.dispatcher.interrupt_batches(&gone).await?;
        }
        for lease in leases.iter().filter(|it| it.left.is_none()) {
            self.parts.leases.remove(&lease.name, lease.fence).await?;
        }
        Ok(())
    }

    /// The nodes that are alive, in order of their names.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn members(&self) -> Result<Vec<Member>, PortError> {
        let leases = self.parts.leases.list("").await?;
        let of = |node: &NodeId| {
            let held = leases.iter().filter(|it| holder(it) == Some(node));
            let held = held.filter(|it| !it.name.starts_with(NODE_PREFIX));
            held.map(|it| it.name.clone()).collect()
        };
        let shown = leases.iter().filter(|it| it.name.starts_with(NODE_PREFIX));
        let shown = shown.filter_map(|lease| {
            let node = holder(lease)?;
            let (since, version) = introduction(lease.note.as_deref());
            Some(Member {
                node: node.clone(),
                version,
                since,
                seen_ago: super::LEASE_TTL.saturating_sub(lease.left?),
                leases: of(node),
            })
        });
        Ok(shown.collect())
    }

    /// Notes once who this node is, beside its sign of life.
    async fn introduce(&self, leases: &[Lease]) -> Result<(), PortError> {
        let own = leases
            .iter()
            .find(|it| holder(it) == Some(&self.parts.node));
        let Some(own) = own.filter(|it| it.note.is_none()) else {
            return Ok(());
        };
        if !std::mem::replace(&mut lock(&self.members.0).introduced, true) {
            let since = self.parts.clock.now().to_rfc3339();
            let note = format!("{since} {}", self.parts.version);
            self.parts.leases.note(&own.name, own.fence, &note).await?;
        }
        Ok(())
    }
}

/// Who holds a lease that has not ended.
fn holder(lease: &Lease) -> Option<&NodeId> {
    lease.left.and(lease.holder.as_ref())
}

fn introduction(note: Option<&str>) -> (Option<Timestamp>, Option<String>) {
    let Some((since, version)) = note.and_then(|it| it.split_once(' ')) else {
        return (None, None);
    };
    let since = Timestamp::parse_rfc3339(since).ok();
    (since, Some(version.to_owned()))
}
