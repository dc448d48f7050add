//! When something is due for sessions whose client is away: their will, their
//! end. One entry per session at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use crate::session::Mailbox;
use crate::shared::Shared;

/// How often expired things nobody asks for are cleared away.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Due times by session.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: Mutex<Due>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Due {
    by_time: BTreeMap<(Instant, u64), Arc<Mailbox>>,
    by_mailbox: HashMap<u64, Instant>,
}

impl Timers {
    /// Sets when something is due for a session, instead of what was set before.
    pub(crate) fn set(&self, mailbox: &Arc<Mailbox>, at: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.clear(mailbox.id);
        due.by_mailbox.insert(mailbox.id, at);
        due.by_time.insert((at, mailbox.id), mailbox.clone());
        let first = due.by_time.keys().next() == Some(&(at, mailbox.id));
        drop(due);
        if first {
            self.changed.notify_one();
        }
    }

    /// Nothing is due for this session any more.
    pub(crate) fn clear(&self, mailbox: u64) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.clear(mailbox);
    }

    fn next(&self) -> Option<Instant> {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.by_time.keys().next().map(|(at, _)| *at)
    }

    fn take_due(&self, now: Instant) -> Option<Arc<Mailbox>> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = due.by_time.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let mailbox = entry.remove();
        due.by_mailbox.remove(&mailbox.id);
        Some(mailbox)
    }
}

impl Due {
    fn clear(&mut self, mailbox: u64) {
        if let Some(at) = self.by_mailbox.remove(&mailbox) {
            self.by_time.remove(&(at, mailbox));
        }
    }
}

/// Does what is due until the broker stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next = shared.timers.next();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.timers.changed.notified() => {}
            _ = sweep.tick() => shared.sweep(Instant::now()),
            () = due => {
                let now = Instant::now();
                while let Some(mailbox) = shared.timers.take_due(now) {
                    shared.absence_due(&mailbox, now);
                }
            }
        }
    }
}
