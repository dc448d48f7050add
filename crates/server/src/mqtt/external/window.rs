//! Messages of one connection that are not acknowledged yet.
//!
//! Acknowledgements go out in the order in which the messages came (MQTT
//! demands it), however late and in whichever order their receipts are
//! resolved. A window belongs to one connection: what is resolved after that
//! connection has ended acknowledges nothing, and the broker sends the message
//! again.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dormouse_core::ports::journal::Receipt;
use tokio::sync::Notify;

/// The messages on their way to us.
#[derive(Debug, Default)]
pub(super) struct Window {
    open: Mutex<Open>,
    /// Told when the oldest message was resolved.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Open {
    /// The number of the oldest message.
    first: u64,
    messages: VecDeque<(NonZeroU16, Outcome)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Waiting,
    Kept,
    Refused,
    Failed,
}

/// A message that could not be kept: nothing from it on may be acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotKept;

/// The receipt of one message.
#[derive(Debug)]
pub(super) struct Ticket {
    window: Arc<Window>,
    number: u64,
    resolved: bool,
}

impl Window {
    /// Adds the next message.
    pub(super) fn admit(self: &Arc<Self>, id: NonZeroU16) -> Ticket {
        let mut open = self.lock();
        let number = open.first + open.messages.len() as u64;
        open.messages.push_back((id, Outcome::Waiting));
        Ticket {
            window: Arc::clone(self),
            number,
            resolved: false,
        }
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.lock().messages.len()
    }

    /// Hands the messages that may be acknowledged to `acknowledge`, in order
    /// and each once, with whether it was refused.
    ///
    /// # Errors
    /// When the next one could not be kept.
    pub(super) fn settle(
        &self,
        mut acknowledge: impl FnMut(NonZeroU16, bool),
    ) -> Result<(), NotKept> {
        let mut open = self.lock();
        while let Some((id, outcome)) = open.messages.front().copied() {
            match outcome {
                Outcome::Waiting => break,
                Outcome::Failed => return Err(NotKept),
                Outcome::Kept => acknowledge(id, false),
                Outcome::Refused => acknowledge(id, true),
            }
            open.messages.pop_front();
            open.first += 1;
        }
        Ok(())
    }

    /// Waits until [`Self::settle`] has something to do.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    fn resolve(&self, number: u64, outcome: Outcome) {
        let is_first = {
            let mut open = self.lock();
            let index = number.checked_sub(open.first);
            let index = index.and_then(|it| usize::try_from(it).ok());
            if let Some(message) = index.and_then(|it| open.messages.get_mut(it)) {
                message.1 = outcome;
            }
            index == Some(0)
        };
        if is_first {
            self.moved.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    fn resolve(mut self, outcome: Outcome) {
        self.resolved = true;
        self.window.resolve(self.number, outcome);
    }
}

impl Receipt for Ticket {
    fn done(self: Box<Self>) {
        (*self).resolve(Outcome::Kept);
    }

    fn refuse(self: Box<Self>, _reason: &'static str) {
        (*self).resolve(Outcome::Refused);
    }

    fn failed(self: Box<Self>) {
        (*self).resolve(Outcome::Failed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.resolved {
            self.window.resolve(self.number, Outcome::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(window: &Arc<Window>, id: u16) -> Box<Ticket> {
        Box::new(window.admit(NonZeroU16::new(id).unwrap()))
    }

    fn settled(window: &Window) -> (Vec<(u16, bool)>, Result<(), NotKept>) {
        let mut acks = Vec::new();
        let result = window.settle(|id, refused| acks.push((id.get(), refused)));
        (acks, result)
    }

    #[test]
    fn acknowledgements_keep_the_order_of_arrival() {
        let window = Arc::new(Window::default());
        let (a, b, c) = (ticket(&window, 7), ticket(&window, 3), ticket(&window, 9));
        c.done();
        b.refuse("no JSON");
        assert_eq!(settled(&window), (vec![], Ok(())));
        a.done();
        assert_eq!(
            settled(&window),
            (vec![(7, false), (3, true), (9, false)], Ok(()))
        );
        let d = ticket(&window, 7);
        d.done();
        assert_eq!(settled(&window), (vec![(7, false)], Ok(())));
        assert_eq!(window.len(), 0);
    }

    #[test]
    fn nothing_is_acknowledged_from_a_message_on_that_was_not_kept() {
        let window = Arc::new(Window::default());
        let (a, b, c) = (ticket(&window, 1), ticket(&window, 2), ticket(&window, 3));
        c.done();
        drop(b);
        assert_eq!(settled(&window), (vec![], Ok(())));
        a.done();
        assert_eq!(settled(&window), (vec![(1, false)], Err(NotKept)));
        assert_eq!(settled(&window), (vec![], Err(NotKept)));
    }

    #[tokio::test]
    async fn resolving_the_oldest_wakes_whoever_writes() {
        let window = Arc::new(Window::default());
        let first = ticket(&window, 1);
        tokio::join!(window.moved(), async { first.failed() });
    }
}
