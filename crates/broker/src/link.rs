//! What ties a connection's task to the threads that have something for it:
//! acknowledgements, messages, orders to close.
//!
//! A raised flag wakes the task once; what is raised while the task is awake or
//! about to be costs no further wake-up. This is what lets one group commit
//! resolve thousands of acknowledgements with one wake-up per connection.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use crate::reasons::Disconnect;

/// The task is awake and will look at the flags before it sleeps.
const AWAKE: u8 = 1;
/// There is news: acknowledgements resolved, messages queued, an order to close.
const NEWS: u8 = 2;

/// An acknowledgement slot that waits.
pub(crate) const PENDING: u8 = 0;
/// Resolved: committed.
pub(crate) const DONE: u8 = 1;
/// Resolved: never to be acknowledged.
pub(crate) const FAILED: u8 = 2;
// Values from 0x80 are the MQTT 5 reason of a refusal.

/// Shared by a connection's task and everyone who may wake it.
#[derive(Debug, Default)]
pub(crate) struct Link {
    flags: AtomicU8,
    waker: AtomicWaker,
    /// States of the acknowledgements handed out; made when the first is.
    slots: OnceLock<Box<[AtomicU8]>>,
    order: OnceLock<Disconnect>,
    ended: AtomicBool,
    end: Notify,
}

impl Link {
    /// Raises the flag and wakes the task unless it is going to look anyway.
    pub(crate) fn raise(&self) {
        if self.raise_quietly() {
            self.waker.wake();
        }
    }

    /// Raises the flag; true if the caller must still call [`Link::wake`].
    pub(crate) fn raise_quietly(&self) -> bool {
        self.flags.fetch_or(NEWS, Ordering::AcqRel) == 0
    }

    /// Wakes the task.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// The task is polled: from now on nobody needs to wake it.
    pub(crate) fn wake_up(&self, waker: &Waker) {
        self.waker.register(waker);
        self.flags.swap(AWAKE, Ordering::AcqRel);
    }

    /// The task looks again: forget what was raised so far.
    pub(crate) fn look_again(&self) {
        self.flags.swap(AWAKE, Ordering::AcqRel);
    }

    /// The task wants to sleep; false if something was raised meanwhile.
    pub(crate) fn try_sleep(&self) -> bool {
        self.flags
            .compare_exchange(AWAKE, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// The task gives way though there may be more to do; it has asked to be
    /// polled again by itself.
    pub(crate) fn give_way(&self) {
        self.flags.store(NEWS, Ordering::Release);
    }

    /// Orders the connection to close; false if it was ordered to before.
    pub(crate) fn close(&self, reason: Disconnect) -> bool {
        let first = self.order.set(reason).is_ok();
        self.raise();
        first
    }

    /// The order to close, if there is one.
    pub(crate) fn closing(&self) -> Option<Disconnect> {
        self.order.get().copied()
    }

    /// Slots for `count` acknowledgements.
    pub(crate) fn slots(&self, count: u16) -> &[AtomicU8] {
        self.slots
            .get_or_init(|| (0..count).map(|_| AtomicU8::new(PENDING)).collect())
    }

    /// Resolves a slot without waking the task.
    pub(crate) fn resolve(&self, slot: u16, state: u8) {
        if let Some(slot) = self
            .slots
            .get()
            .and_then(|slots| slots.get(usize::from(slot)))
        {
            slot.store(state, Ordering::Release);
        }
    }

    /// The connection is over and its session free.
    pub(crate) fn set_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    /// Waits for [`Link::set_ended`].
    pub(crate) async fn ended(&self) {
        let mut notified = std::pin::pin!(self.end.notified());
        notified.as_mut().enable();
        if !self.ended.load(Ordering::Acquire) {
            notified.await;
        }
    }
}
