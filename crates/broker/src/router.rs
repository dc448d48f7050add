//! Passes messages on: into the retained ones and to whoever has subscribed.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::time::Instant;

use crate::limits::Limits;
use crate::message::Stored;
use crate::retained::Retained;
use crate::session::{Mailbox, Offer, Outgoing};
use crate::stats::{Counters, count};
use crate::subscriptions::Subscriptions;
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
#[derive(Debug, Default)]
pub(crate) struct Router {
    pub(crate) subscriptions: Subscriptions,
    pub(crate) retained: Retained,
    /// Bytes waiting in the queues of all sessions.
    pub(crate) queued_bytes: AtomicUsize,
}

impl Router {
    /// Whether passing a message on would reach anything.
    pub(crate) fn wants(&self, topic: &str, retain: bool) -> bool {
        retain || self.subscriptions.any(topic)
    }

    /// Retains the message if so marked and hands it to all subscribers.
    pub(crate) fn publish(
        &self,
        message: &Arc<Stored>,
        limits: &Limits,
        counters: &Counters,
        now: Instant,
    ) -> Delivery {
        if message.retain && !self.retained.set(message, limits) {
            count(&counters.retain_refused, 1);
        }
        let mut delivery = Delivery::default();
        self.subscriptions.deliver(message, |mailbox, outgoing| {
            match mailbox.offer(outgoing, limits, &self.queued_bytes, now) {
                Offer::Live => delivery.live += 1,
                Offer::Queued => delivery.queued += 1,
                Offer::Full => {
                    delivery.dropped += 1;
                    count(&counters.dropped_full, 1);
                }
                Offer::Offline => {
                    delivery.dropped += 1;
                    count(&counters.dropped_offline, 1);
                }
                Offer::Over => {}
            }
        });
        delivery
    }

    /// Queues the retained messages that a new subscription is owed.
    pub(crate) fn send_retained(
        &self,
        pattern: &str,
        mailbox: &Mailbox,
        template: &RetainedTo,
        limits: &Limits,
        counters: &Counters,
        now: Instant,
    ) {
        let found = self.retained.matching(pattern, now);
        let mut state = mailbox.lock();
        for message in found {
            let outgoing = Outgoing {
                qos: message.qos.min(template.qos),
                retain: true,
                ids: template.id.into_iter().collect(),
                message,
            };
            if !state
                .queue
                .push_retained(outgoing, limits, &self.queued_bytes)
            {
                count(&counters.dropped_full, 1);
            }
        }
    }

    /// Ends a session: nothing is queued for it or delivered to it any more.
    pub(crate) fn end(&self, mailbox: &Mailbox) {
        for filter in mailbox.end(&self.queued_bytes) {
            if let Ok(filter) = Filter::parse(&filter) {
                self.subscriptions.remove(filter, mailbox.id);
            }
        }
    }
}

/// How a new subscription wants its retained messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetainedTo {
    pub(crate) qos: crate::codec::QoS,
    pub(crate) id: Option<u32>,
}
