//! Passes messages on: into the retained ones and to whoever has subscribed.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::time::Instant;

use crate::codec::QoS;
use crate::limits::Limits;
use crate::message::Stored;
use crate::retained::Retained;
use crate::session::{Mailbox, Offer, Outgoing};
use crate::stats::{Counters, count};
use crate::subscriptions::{Post, Subscriptions};
use crate::topic::Filter;

/// What became of one published message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Sessions whose client is connected and will be sent it.
    pub live: usize,
    /// Sessions that keep it for a client that is away.
    pub queued: usize,
    /// Sessions that dropped it: no room, or QoS 0 and the client away.
    pub dropped: usize,
}

/// Subscriptions and retained messages, and the way from one to the other.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) subscriptions: Subscriptions,
    pub(crate) retained: Retained,
    /// Bytes waiting in the queues of all sessions.
    pub(crate) queued_bytes: AtomicUsize,
    limits: Arc<Limits>,
    counters: Arc<Counters>,
}

impl Router {
    pub(crate) fn new(limits: Arc<Limits>, counters: Arc<Counters>) -> Self {
        Self {
            subscriptions: Subscriptions::default(),
            retained: Retained::default(),
            queued_bytes: AtomicUsize::new(0),
            limits,
            counters,
        }
    }

    /// Whether passing a message on would reach anything.
    pub(crate) fn wants(&self, topic: &str, retain: bool) -> bool {
        retain || self.subscriptions.any(topic)
    }

    /// Retains the message if so marked and hands it to all subscribers.
    pub(crate) fn publish(&self, message: &Arc<Stored>, now: Instant) -> Delivery {
        if message.retain && !self.retained.set(message, &self.limits) {
            count(&self.counters.retain_refused, 1);
        }
        let mut round = Round::new(self, now);
        self.subscriptions.deliver(message, &mut round);
        round.delivery
    }

    /// Queues the retained messages that a new subscription is owed.
    pub(crate) fn send_retained(
        &self,
        pattern: &str,
        mailbox: &Mailbox,
        wanted: QoS,
        id: Option<u32>,
        now: Instant,
    ) {
        let found = self.retained.matching(pattern, now);
        let mut state = mailbox.lock();
        for message in found {
            let outgoing = Outgoing {
                qos: message.qos.min(wanted),
                retain: true,
                ids: id.into_iter().collect(),
                group: None,
                message,
            };
            let (limits, total) = (&self.limits, &self.queued_bytes);
            if !state.queue.push_retained(outgoing, limits, total) {
                count(&self.counters.dropped_full, 1);
            }
        }
    }

    /// Ends a session: nothing is queued for it or delivered to it any more.
    /// What it owed a shared subscription goes to another member.
    pub(crate) fn end(&self, mailbox: &Mailbox, now: Instant) {
        let remains = mailbox.end(&self.queued_bytes);
        for filter in &remains.filters {
            if let Ok(filter) = Filter::parse(filter) {
                self.subscriptions.remove(filter, mailbox.id);
            }
        }
        let mut round = Round::new(self, now);
        for orphan in remains.orphans {
            if let Some(group) = orphan.group
                && !orphan.message.is_stale(now)
            {
                self.subscriptions
                    .deliver_to_group(&orphan.message, &group, &mut round);
            }
        }
    }
}

/// One message's round.
struct Round<'a> {
    router: &'a Router,
    now: Instant,
    delivery: Delivery,
}

impl<'a> Round<'a> {
    fn new(router: &'a Router, now: Instant) -> Self {
        Self {
            router,
            now,
            delivery: Delivery::default(),
        }
    }
}

impl Post for Round<'_> {
    fn offer(&mut self, mailbox: &Mailbox, outgoing: Outgoing) -> Offer {
        let router = self.router;
        mailbox.offer(outgoing, &router.limits, &router.queued_bytes, self.now)
    }

    fn count(&mut self, offer: Offer) {
        let counters = &self.router.counters;
        match offer {
            Offer::Live => self.delivery.live += 1,
            Offer::Queued => self.delivery.queued += 1,
            Offer::Full => {
                self.delivery.dropped += 1;
                count(&counters.dropped_full, 1);
            }
            Offer::Offline => {
                self.delivery.dropped += 1;
                count(&counters.dropped_offline, 1);
            }
            Offer::Over => {}
        }
    }
}
