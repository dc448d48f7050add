//! One lease, held for as long as it can be renewed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Instant};
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::nodes::{Fence, LeaseStore, NodeId};

/// How long a lease holds without being renewed, by the store's clock.
pub const LEASE_TTL: Duration = Duration::from_secs(6);
/// How often a holder renews it, and how often others ask whether it is free.
pub const LEASE_EVERY: Duration = Duration::from_secs(1);
/// How much sooner than in the store it ends here: what was begun under it
/// has this long to end.
const MARGIN: Duration = Duration::from_secs(1);

/// Keeps trying to hold one lease.
///
/// Its keeper calls [`attempt`](Self::attempt) every [`LEASE_EVERY`], and
/// [`expire`](Self::expire) while an attempt hangs.
pub struct LeaseKeeper {
    store: Arc<dyn LeaseStore>,
    name: String,
    node: NodeId,
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
    told: watch::Sender<Option<Fence>>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    fence: Fence,
    until: Instant,
}

impl LeaseKeeper {
    /// A keeper of the lease `name` for `node`, which does not hold it yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn LeaseStore>,
        name: impl Into<String>,
        node: NodeId,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            name: name.into(),
            node,
            clock,
            held: Mutex::default(),
            told: watch::Sender::default(),
        }
    }

    /// The lease's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fence while it is held; exact, by this process's monotonic clock.
    #[must_use]
    pub fn held(&self) -> Option<Fence> {
        let held = (*lock(&self.held))?;
        (self.clock.instant() < held.until).then_some(held.fence)
    }

    /// When it ends unless it is renewed before; `None` while it is not held.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        lock(&self.held).map(|held| held.until)
    }

    /// Follows the fence: a new one each time the lease comes here.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Fence>> {
        self.told.subscribe()
    }

    /// Takes the lease if it is free, or renews it.
    ///
    /// # Errors
    /// When the store does not answer; what is held stays held until it ends.
    pub async fn attempt(&self) -> Result<(), PortError> {
        let asked = self.clock.instant();
        let acquired = self.store.acquire(&self.name, &self.node, LEASE_TTL).await;
        if let Ok(fence) = &acquired {
            let until = asked + (LEASE_TTL - MARGIN);
            *lock(&self.held) = fence.map(|fence| Held { fence, until });
        }
        self.expire();
        acquired.map(drop)
    }

    /// Notices that the lease has ended, if it has.
    pub fn expire(&self) {
        let held = self.held();
        if held.is_none() {
            *lock(&self.held) = None;
        }
        self.told.send_if_modified(|told| {
            let changed = *told != held;
            *told = held;
            changed
        });
    }

    /// Notes something for the next holder, if the lease is held here.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note(&self, note: &str) -> Result<(), PortError> {
        if let Some(fence) = self.held() {
            self.store.note(&self.name, fence, note).await?;
        }
        Ok(())
    }

    /// What its holder, this node or another, noted last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn noted(&self) -> Result<Option<String>, PortError> {
        let found = self.store.list(&self.name).await?;
        let ours = found.into_iter().find(|it| it.name == self.name);
        Ok(ours.and_then(|it| it.note))
    }

    /// Gives the lease back, if it is held here. No attempt may be under way.
    ///
    /// # Errors
    /// When the store does not answer: it ends by itself then.
    pub async fn give_back(&self) -> Result<(), PortError> {
        let held = lock(&self.held).take();
        self.expire();
        match held {
            Some(held) => self.store.release(&self.name, held.fence).await,
            None => Ok(()),
        }
    }

    /// Forgets the lease, if it is held here. No attempt may be under way.
    ///
    /// # Errors
    /// When the store does not answer: it ends by itself then.
    pub async fn remove(&self) -> Result<(), PortError> {
        let held = lock(&self.held).take();
        self.expire();
        if let Some(held) = held {
            self.store.remove(&self.name, held.fence).await?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for LeaseKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseKeeper")
            .field("name", &self.name)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::memory::MemoryLeases;

    const S: Duration = Duration::from_secs(1);

    struct Site {
        clock: Arc<ManualClock>,
        store: Arc<MemoryLeases>,
    }

    impl Site {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
            let store = Arc::new(MemoryLeases::new(clock.clone()));
            Self { clock, store }
        }

        fn keeper(&self, node: &str) -> LeaseKeeper {
            let node = NodeId(node.into());
            LeaseKeeper::new(self.store.clone(), "presence", node, self.clock.clone())
        }
    }

    #[tokio::test]
    async fn one_holds_it_and_the_other_gets_it_when_the_first_is_gone() {
        let site = Site::new();
        let (first, second) = (site.keeper("a"), site.keeper("b"));
        first.attempt().await.unwrap();
        let fence = first.held().unwrap();
        for _ in 0..20 {
            site.clock.advance(S);
            first.attempt().await.unwrap();
            second.attempt().await.unwrap();
            assert_eq!((first.held(), second.held()), (Some(fence), None));
        }
        let gone = site.clock.instant();
        while second.held().is_none() {
            site.clock.advance(S);
            second.attempt().await.unwrap();
            assert!(first.held().is_none() || second.held().is_none());
        }
        assert!(site.clock.instant().since(gone) <= LEASE_TTL + S);
        assert!(second.held() > Some(fence), "a newer fence");
        first.attempt().await.unwrap();
        assert_eq!(first.held(), None);
    }

    #[tokio::test]
    async fn who_cannot_renew_stops_before_the_store_lets_others_have_it() {
        let site = Site::new();
        let keeper = site.keeper("a");
        let mut told = keeper.watch();
        keeper.attempt().await.unwrap();
        assert_eq!(*told.borrow_and_update(), keeper.held());
        site.store.set_reachable(false);
        site.clock
            .advance(LEASE_TTL - MARGIN - Duration::from_millis(1));
        assert!(keeper.attempt().await.is_err());
        assert!(keeper.held().is_some(), "still within its time");
        site.clock.advance(Duration::from_millis(1));
        assert_eq!(keeper.held(), None);
        keeper.expire();
        assert_eq!(*told.borrow_and_update(), None);
        site.store.set_reachable(true);
        assert!(site.store.list("presence").await.unwrap()[0].left.is_some());
    }

    #[tokio::test]
    async fn what_is_given_back_is_free_at_once() {
        let site = Site::new();
        let (first, second) = (site.keeper("a"), site.keeper("b"));
        first.attempt().await.unwrap();
        first.note("here").await.unwrap();
        first.give_back().await.unwrap();
        assert_eq!(first.held(), None);
        second.attempt().await.unwrap();
        assert!(second.held().is_some());
        let left = site.store.list("presence").await.unwrap();
        assert_eq!(left[0].note.as_deref(), Some("here"));
        second.remove().await.unwrap();
        assert_eq!(site.store.list("").await.unwrap(), []);
    }
}
