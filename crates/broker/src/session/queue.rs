//! Messages that wait for one session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::codec::QoS;
use crate::limits::Limits;
use crate::message::Stored;

/// The identifiers of the subscriptions that a delivery answers.
pub(crate) type SubscriptionIds = SmallVec<[u32; 2]>;

/// A message on its way to one session.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) message: Arc<Stored>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) ids: SubscriptionIds,
    /// The group of the shared subscription that it answers, if it is one.
    pub(crate) group: Option<Arc<str>>,
}

/// A bounded queue: by messages, by bytes, and by the bytes of all queues
/// together. When it is full the new message is dropped; expired ones go first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: VecDeque<Outgoing>,
    bytes: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Appends a message; false if there is no room. `total` counts the bytes of
    /// all queues.
    pub(crate) fn push(
        &mut self,
        item: Outgoing,
        limits: &Limits,
        total: &AtomicUsize,
        now: Instant,
    ) -> bool {
        let size = item.message.size_bytes();
        if !self.has_room(size, limits) {
            self.drop_stale(total, now);
            if !self.has_room(size, limits) {
                return false;
            }
        }
        if total.load(Relaxed) + size > limits.total_queue_bytes {
            return false;
        }
        self.append(item, total);
        true
    }

    /// Appends a retained message for a new subscription. A subscriber to
    /// everything is owed every retained message, so these have a bound of
    /// their own: as many again as can be retained.
    pub(crate) fn push_retained(
        &mut self,
        item: Outgoing,
        limits: &Limits,
        total: &AtomicUsize,
    ) -> bool {
        if self.items.len()
            >= limits
                .queue_messages
                .saturating_add(limits.retained_messages)
        {
            return false;
        }
        self.append(item, total);
        true
    }

    pub(crate) fn front(&self) -> Option<&Outgoing> {
        self.items.front()
    }

    pub(crate) fn pop(&mut self, total: &AtomicUsize) -> Option<Outgoing> {
        let item = self.items.pop_front()?;
        self.release(item.message.size_bytes(), total);
        if self.items.is_empty() && self.items.capacity() > 64 {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    /// Keeps what `keep` says; returns how many went.
    pub(crate) fn retain(
        &mut self,
        total: &AtomicUsize,
        mut keep: impl FnMut(&Outgoing) -> bool,
    ) -> usize {
        let before = self.items.len();
        let mut freed = 0;
        self.items.retain(|item| {
            let kept = keep(item);
            if !kept {
                freed += item.message.size_bytes();
            }
            kept
        });
        self.release(freed, total);
        before - self.items.len()
    }

    /// Empties the queue.
    pub(crate) fn take_all(&mut self, total: &AtomicUsize) -> VecDeque<Outgoing> {
        self.release(self.bytes, total);
        std::mem::take(&mut self.items)
    }

    fn has_room(&self, size: usize, limits: &Limits) -> bool {
        self.items.len() < limits.queue_messages && self.bytes + size <= limits.queue_bytes
    }

    fn drop_stale(&mut self, total: &AtomicUsize, now: Instant) {
        self.retain(total, |item| !item.message.is_stale(now));
    }

    fn append(&mut self, item: Outgoing, total: &AtomicUsize) {
        let size = item.message.size_bytes();
        self.bytes += size;
        total.fetch_add(size, Relaxed);
        self.items.push_back(item);
    }

    fn release(&mut self, size: usize, total: &AtomicUsize) {
        self.bytes -= size;
        total.fetch_sub(size, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use std::time::Duration;

    fn item(bytes: usize, expiry: Option<Duration>, now: Instant) -> Outgoing {
        let mut message = Message::new("t", vec![0; bytes - 1]);
        message.expiry = expiry;
        Outgoing {
            message: Arc::new(Stored::of_message(message, now)),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIds::new(),
            group: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_bound_holds_and_every_byte_is_given_back() {
        let now = Instant::now();
        let limits = Limits {
            queue_messages: 3,
            queue_bytes: 100,
            total_queue_bytes: 150,
            ..Limits::default()
        };
        let total = AtomicUsize::new(0);
        let mut queue = Queue::default();
        assert!(queue.push(item(60, None, now), &limits, &total, now));
        assert!(
            !queue.push(item(60, None, now), &limits, &total, now),
            "bytes"
        );
        assert!(queue.push(item(10, None, now), &limits, &total, now));
        assert!(queue.push(item(10, None, now), &limits, &total, now));
        assert!(
            !queue.push(item(10, None, now), &limits, &total, now),
            "messages"
        );
        let mut other = Queue::default();
        assert!(
            !other.push(item(80, None, now), &limits, &total, now),
            "total"
        );
        assert_eq!(total.load(Relaxed), 80);
        queue.pop(&total);
        assert_eq!(queue.take_all(&total).len(), 2);
        assert_eq!(total.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_messages_make_room() {
        let now = Instant::now();
        let limits = Limits {
            queue_messages: 1,
            ..Limits::default()
        };
        let total = AtomicUsize::new(0);
        let mut queue = Queue::default();
        let second = Duration::from_secs(1);
        assert!(queue.push(item(10, Some(second), now), &limits, &total, now));
        assert!(!queue.push(item(20, None, now), &limits, &total, now));
        assert!(queue.push(item(20, None, now), &limits, &total, now + second));
        assert_eq!((queue.len(), total.load(Relaxed)), (1, 20));
    }
}
