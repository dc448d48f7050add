//! Who the nodes are, and who of them is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use super::Nodes;
use super::about::About;
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::nodes::{Lease, NodeId};

/// What the leases begin with that show which nodes are alive.
pub const NODE_PREFIX: &str = "node/";

/// For how long a node that died without a word is remembered, unless it comes
/// back.
const REMEMBER_LOST: Duration = Duration::from_secs(86_400);

/// One node of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which one.
    pub node: NodeId,
    /// What it tells of itself.
    pub about: About,
    /// How long ago it showed that it is alive.
    pub seen_ago: Duration,
    /// What it does for all, in order of the leases' names.
    pub leases: Vec<String>,
}

/// The nodes of the site, each in order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// Those that are alive.
    pub alive: Vec<Member>,
    /// Those that died without a word within a day and have not come back.
    pub lost: Vec<Member>,
}

#[derive(Debug, Default)]
pub(super) struct Members(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    alive: BTreeSet<NodeId>,
    /// What this node tells of itself.
    about: About,
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
        let remembered = lost(&leases);
        for lease in leases.iter().filter(|it| it.left.is_none()) {
            if !remembered.iter().any(|it| it.name == lease.name) {
                self.parts.leases.remove(&lease.name, lease.fence).await?;
            }
        }
        Ok(())
    }

    /// Who is there, and who is missing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn roll(&self) -> Result<Roll, PortError> {
        let leases = self.parts.leases.list("").await?;
        let of = |node: &NodeId| {
            let held = leases.iter().filter(|it| holder(it) == Some(node));
            let held = held.filter(|it| !it.name.starts_with(NODE_PREFIX));
            held.map(|it| it.name.clone()).collect()
        };
        let shown: Vec<Lease> = leases
            .iter()
            .filter(|it| it.name.starts_with(NODE_PREFIX))
            .cloned()
            .collect();
        let alive = shown.iter().filter_map(|lease| {
            let node = holder(lease)?;
            Some(Member {
                node: node.clone(),
                about: About::read(lease.note.as_deref()),
                seen_ago: super::LEASE_TTL.saturating_sub(lease.left?),
                leases: of(node),
            })
        });
        let lost = lost(&shown).into_iter().filter_map(|lease| {
            Some(Member {
                node: lease.holder.clone()?,
                about: About::read(lease.note.as_deref()),
                seen_ago: super::LEASE_TTL + lease.over?,
                leases: Vec::new(),
            })
        });
        Ok(Roll {
            alive: alive.collect(),
            lost: lost.collect(),
        })
    }

    /// Which node this is.
    #[must_use]
    pub const fn id(&self) -> &NodeId {
        &self.parts.node
    }

    /// Tells the others, within a second, where this node's page and API are.
    pub fn serve_at(&self, address: String) {
        lock(&self.members.0).about.address = Some(address);
    }

    /// Tells the others, within a second, which parts do not work for this
    /// node.
    pub fn set_down(&self, parts: Vec<String>) {
        lock(&self.members.0).about.down = parts;
    }

    /// Notes who this node is, beside its sign of life.
    async fn introduce(&self, leases: &[Lease]) -> Result<(), PortError> {
        let own = leases
            .iter()
            .find(|it| holder(it) == Some(&self.parts.node));
        let Some(own) = own else { return Ok(()) };
        let note = {
            let about = &mut lock(&self.members.0).about;
            about.since.get_or_insert_with(|| self.parts.clock.now());
            about.version = Some(self.parts.version.to_owned());
            about.write()
        };
        if own.note.as_deref() != Some(&*note) {
            self.parts.leases.note(&own.name, own.fence, &note).await?;
        }
        Ok(())
    }
}

/// Who holds a lease that has not ended.
fn holder(lease: &Lease) -> Option<&NodeId> {
    lease.left.and(lease.holder.as_ref())
}

/// The ends of nodes worth remembering: of each name the last one, unless a
/// node of that name is alive.
fn lost(leases: &[Lease]) -> Vec<&Lease> {
    let alive: BTreeSet<&str> = leases.iter().filter_map(holder).map(NodeId::name).collect();
    let mut last: BTreeMap<&str, (Duration, &Lease)> = BTreeMap::new();
    for lease in leases {
        let (Some(node), Some(over)) = (&lease.holder, lease.over) else {
            continue;
        };
        let is_newer = last.get(node.name()).is_none_or(|(known, _)| over < *known);
        if is_newer && over < REMEMBER_LOST && !alive.contains(node.name()) {
            last.insert(node.name(), (over, lease));
        }
    }
    last.into_values().map(|(_, lease)| lease).collect()
}
