//! What all connections of one broker share.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ack::Ack;
use crate::admission::Admission;
use crate::codec::MessageProperties;
use crate::hooks::{Hooks, Inbound, Origin, PublishVerdict, Routing};
use crate::limits::Limits;
use crate::message::{Stored, Will};
use crate::registry::Registry;
use crate::router::{Delivery, Router};
use crate::session::{Mailbox, Session};
use crate::stats::{Counters, Stats, count};
use crate::timers::Timers;

/// The state of one broker.
pub(crate) struct Shared {
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) router: Router,
    pub(crate) registry: Registry,
    pub(crate) admission: Arc<Admission>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) timers: Timers,
    /// The tasks of all connections.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the broker stops.
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// Passes a message on.
    pub(crate) fn route(&self, message: &Arc<Stored>, now: Instant) -> Delivery {
        self.router.publish(message, now)
    }

    /// Calls a hook where its panic must not keep us from what comes next.
    pub(crate) fn guarded<R>(&self, call: impl FnOnce(&dyn Hooks) -> R) -> Option<R> {
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| call(&*self.hooks)));
        if result.is_err() {
            count(&self.counters.panics, 1);
        }
        result.ok()
    }

    /// Publishes the will of a client that is gone, if it may.
    pub(crate) fn publish_will(&self, session: &Session, mailbox: &Mailbox, will: Will) {
        let now = Instant::now();
        let (topic, retain, qos) = (&*will.topic, will.retain, will.qos);
        match self.guarded(|hooks| hooks.authorize_publish(session, topic, retain, qos)) {
            Some(PublishVerdict::Allow) => {}
            Some(PublishVerdict::Deny) => {
                count(&self.counters.denied_publish, 1);
                return;
            }
            None => return,
        }
        count(&self.counters.wills, 1);
        let inbound = Inbound {
            topic: &will.topic,
            payload: &will.payload,
            qos: will.qos,
            retain: will.retain,
            dup: false,
            expiry: will.expiry_s.map(|s| Duration::from_secs(s.into())),
            received_at: now,
            origin: Origin::Will,
            properties: MessageProperties::of_block(&will.forwarded),
        };
        match self.guarded(|hooks| hooks.publish(session, &inbound, Ack::none())) {
            Some(Routing::Nobody) | None => {}
            Some(Routing::Subscribers) => {
                self.route(&Arc::new(will.into_stored(mailbox.id, now)), now);
            }
        }
    }

    /// Does what is due for a session whose client is away.
    pub(crate) fn absence_due(&self, mailbox: &Arc<Mailbox>, now: Instant) {
        let (session, will, next) = {
            let mut state = mailbox.lock();
            let Some(absence) = state.absence.as_mut() else {
                return;
            };
            let will_due = absence.will_at.is_some_and(|at| at <= now) || absence.end_at <= now;
            if will_due {
                absence.will_at = None;
            }
            let (session, next) = (absence.session.clone(), absence.next());
            let will = if will_due { state.will.take() } else { None };
            (session, will, next)
        };
        let over = self.registry.forget_if(mailbox, |state| {
            state
                .absence
                .as_ref()
                .is_some_and(|absence| absence.end_at <= now)
        });
        if over {
            self.router.end(mailbox, now);
        } else if next > now {
            self.timers.set(mailbox, next);
        }
        if let Some(will) = will {
            self.publish_will(&session, mailbox, *will);
        }
    }

    /// Forgets what is of no use any more.
    pub(crate) fn sweep(&self, now: Instant) {
        self.router.retained.sweep(now);
        self.registry.sweep(&self.limits, now);
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.admission.open() as u64,
            sessions: self.registry.len() as u64,
            retained: self.router.retained.len() as u64,
            queued_bytes: self
                .router
                .queued_bytes
                .load(std::sync::atomic::Ordering::Relaxed) as u64,
            ..self.counters.snapshot()
        }
    }
}
