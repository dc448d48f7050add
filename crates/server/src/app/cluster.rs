//! This node among others: who may run beside whom, and what nodes tell each
//! other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use dormouse_core::clock::Clock;
use dormouse_core::memory::MemoryLeases;
use dormouse_core::ports::nodes::{Lease, LeaseStore};
use dormouse_core::services::nodes::{LEASE_EVERY, LEASE_TTL, LeaseKeeper, NODE_PREFIX};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use super::node::Node;
use crate::config::Config;
use crate::tasks::Tasks;

/// Held by the only node of a site that has an engine inside.
const ALONE: &str = "single";
/// How long a start waits for the lease of a process that has just died.
const PATIENCE: Duration = Duration::from_secs(8);

/// The leases of this site. Sees to it that a node with an engine inside has
/// the site for itself.
///
/// # Errors
/// When another node is there; says which and what to do.
pub(super) async fn leases(
    config: &Config,
    engines: &Engines,
    node: &Node,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> anyhow::Result<Arc<dyn LeaseStore>> {
    let Some(shared) = &engines.stores.shared else {
        return Ok(Arc::new(MemoryLeases::new(Arc::clone(clock))));
    };
    let leases = Arc::clone(&shared.leases);
    let (own, foreign) = if config.is_shared() {
        (format!("{NODE_PREFIX}{}", node.id), ALONE)
    } else {
        (ALONE.to_owned(), NODE_PREFIX)
    };
    let keeper = LeaseKeeper::new(Arc::clone(&leases), own, node.id.clone(), Arc::clone(clock));
    let deadline = Instant::now() + PATIENCE;
    loop {
        keeper.attempt().await.context("database.url: leases")?;
        let others = leases.list(foreign).await.context("database.url: leases")?;
        let other = others.into_iter().find(|it| it.left.is_some());
        if keeper.held().is_some() && other.is_none() {
            break;
        }
        if Instant::now() >= deadline {
            keeper.give_back().await.ok();
            refuse(config, other.or(holder(&leases).await))?;
        }
        tokio::time::sleep(LEASE_EVERY).await;
    }
    tasks.spawn("node", keep(keeper, tasks.stopping()));
    Ok(leases)
}

async fn holder(leases: &Arc<dyn LeaseStore>) -> Option<Lease> {
    leases.list(ALONE).await.ok()?.pop()
}

fn refuse(config: &Config, other: Option<Lease>) -> anyhow::Result<()> {
    let other = other.and_then(|it| it.holder).map_or_else(
        || "another node".to_owned(),
        |it| format!("another node ({it})"),
    );
    let inside = [
        ("broker.url", config.broker.is_embedded()),
        ("hot.url", config.hot.is_memory()),
    ];
    let inside: Vec<_> = inside
        .iter()
        .filter_map(|(key, inside)| inside.then_some(*key))
        .collect();
    if inside.is_empty() {
        bail!(
            "database.url: {other} on this database has an engine inside and must be the only \
             one: stop it, or set its broker.url and hot.url to servers that all nodes share"
        );
    }
    bail!(
        "database.url: {other} runs on this database; a node beside others needs engines that \
         all of them share: set {} (leases of a node that has died end within {} s)",
        inside.join(" and "),
        LEASE_TTL.as_secs()
    );
}

/// Keeps the lease until `stop`. Losing it to another node is the end.
async fn keep(keeper: LeaseKeeper, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(LEASE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        // One that takes longer may have ended here by the time it is granted.
        let renewed = tokio::time::timeout(LEASE_TTL / 2, keeper.attempt()).await;
        // While the database is away nobody else can take it either.
        if matches!(renewed, Ok(Ok(()))) && keeper.held().is_none() {
            bail!("database.url: another node has taken this one's place on the database");
        }
    }
    keeper.remove().await.ok();
    Ok(())
}
