//! Numbered broker sessions, each held by one node at a time.
//!
//! A node holds `slot/N` and is the client `{prefix}-N`. Its session outlives
//! it, so that what the broker keeps for a dead node can be fetched by others.
//!
//! While the store of leases does not answer, a slot's holder goes on with the
//! connection it has: whoever takes the slot over connects as the same client,
//! upon which the broker ends the former connection. It does not connect
//! again before it has renewed the lease.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::{Fence, LeaseStore, NodeId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// What the names of slots' leases begin with.
const PREFIX: &str = "slot/";
/// How long a lease holds without being renewed.
pub(super) const TTL: Duration = Duration::from_secs(6);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(2);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long before its end a holder that could not renew it stops acting, for
/// what is on its way.
const MARGIN: Duration = Duration::from_secs(1);

/// A lease that this node holds.
#[derive(Debug)]
pub(super) struct Held {
    claim: Claim,
    fence: Fence,
    /// Until when nobody else can have it, by our own clock.
    until: watch::Sender<Instant>,
}

/// Tells whether a lease is certainly held.
#[derive(Debug, Clone)]
pub(super) struct Certainty(watch::Receiver<Instant>);

impl Certainty {
    /// Waits until nobody else can have the lease.
    pub(super) async fn wait(&mut self) {
        let certain = |until: &Instant| *until > Instant::now() + MARGIN;
        if self.0.wait_for(certain).await.is_err() {
            // The lease was let go; whoever waits is about to be ended.
            std::future::pending::<()>().await;
        }
    }
}

impl Held {
    /// Watches whether it is certainly held.
    pub(super) fn certainty(&self) -> Certainty {
        Certainty(self.until.subscribe())
    }
}

/// Keeps two tasks of this node off the same lease, which the store would let
/// both have.
#[derive(Debug)]
struct Claim {
    name: String,
    claimed: Arc<Mutex<BTreeSet<String>>>,
}

impl Claim {
    fn lay(name: &str, claimed: &Arc<Mutex<BTreeSet<String>>>) -> Option<Self> {
        let mut names = claimed.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned()).then(|| Self {
            name: name.to_owned(),
            claimed: Arc::clone(claimed),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut names = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        names.remove(&self.name);
    }
}

/// Takes and keeps leases.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    leases: Arc<dyn LeaseStore>,
    node: NodeId,
    claimed: Arc<Mutex<BTreeSet<String>>>,
}

impl Keeper {
    pub(super) fn new(leases: Arc<dyn LeaseStore>, node: NodeId) -> Self {
        Self {
            leases,
            node,
            claimed: Arc::default(),
        }
    }

    /// Takes the lease `name`, or `None` while somebody else has it.
    pub(super) async fn take(&self, name: &str) -> Result<Option<Held>, PortError> {
        let Some(claim) = Claim::lay(name, &self.claimed) else {
            return Ok(None);
        };
        let taken = self.ask(name).await?;
        Ok(taken.map(|(fence, until)| Held {
            claim,
            fence,
            until: watch::Sender::new(until),
        }))
    }

    async fn ask(&self, name: &str) -> Result<Option<(Fence, Instant)>, PortError> {
        // Counted from before asking: the store's count begins later.
        let asked = Instant::now();
        let fence = self.leases.acquire(name, &self.node, TTL).await?;
        Ok(fence.map(|fence| (fence, asked + TTL)))
    }

    /// Takes the lowest of so many `slots` that is free.
    pub(super) async fn take_slot(&self, slots: u32) -> Result<Option<(u32, Held)>, PortError> {
        for number in 0..slots {
            if let Some(held) = self.take(&name(number)).await? {
                return Ok(Some((number, held)));
            }
        }
        Ok(None)
    }

    /// The slots that nobody holds: their nodes died or gave them back.
    pub(super) async fn orphans(&self) -> Result<Vec<u32>, PortError> {
        let leases = self.leases.list(PREFIX).await?;
        let orphans = leases.iter().filter(|lease| lease.left.is_none());
        Ok(orphans
            .filter_map(|lease| lease.name.strip_prefix(PREFIX)?.parse().ok())
            .collect())
    }

    /// Keeps `held` until it is lost: somebody else has it, or it could not be
    /// renewed in time. Cancelling it loses at most one renewal.
    pub(super) async fn keep(&self, held: &mut Held) {
        let fence = held.fence;
        loop {
            let deadline = *held.until.borrow() - MARGIN;
            tokio::select! {
                kept = self.renew(held) => if !kept || held.fence != fence {
                    return;
                },
                () = sleep_until(deadline) => return,
            }
        }
    }

    /// Keeps a slot until somebody else has it, however long the store does
    /// not answer.
    pub(super) async fn keep_slot(&self, held: &mut Held) {
        while self.renew(held).await {}
    }

    /// Renews once, when it is time and the store answers; says whether it is
    /// still ours. Another fence means that it had run out.
    async fn renew(&self, held: &mut Held) -> bool {
        sleep(RENEW).await;
        loop {
            match self.ask(&held.claim.name).await {
                Ok(None) => return false,
                Ok(Some((fence, until))) => {
                    held.fence = fence;
                    held.until.send_replace(until);
                    return true;
                }
                Err(error) => {
                    tracing::debug!(%error, lease = held.claim.name, "lease not renewed");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// Gives a lease back. It runs out by itself where that fails.
    pub(super) async fn release(&self, held: &Held) {
        if let Err(error) = self.leases.release(&held.claim.name, held.fence).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, lease = held.claim.name, "lease not given back");
        }
    }

    /// Forgets a slot whose session has ended.
    pub(super) async fn remove(&self, held: &Held) -> Result<bool, PortError> {
        self.leases.remove(&held.claim.name, held.fence).await
    }
}

/// The lease of a slot.
pub(super) fn name(number: u32) -> String {
    format!("{PREFIX}{number}")
}
