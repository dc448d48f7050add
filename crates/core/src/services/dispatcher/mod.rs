//! Sending commands and settling them: the only code that moves a command.
//!
//! [`Dispatcher`] is the door for everybody: it checks, and puts what passes
//! into a bounded inbox. One [`DispatchLoop`] owns all that changes. Each of
//! its turns takes what has come in, what is due and what batches may send,
//! writes all of it in one transaction, and only then lets it out: publishes,
//! wakes those who wait, tells the rest of the platform.

mod batches;
mod door;
mod draft;
mod id_source;
mod inbox;
mod keys;
mod outcome;
mod pending;
mod plan;
mod request;
mod seams;
mod shared;
mod turn;

#[cfg(test)]
mod tests;

pub use crate::reported::RelayReport;
pub use door::Dispatcher;
pub use request::{
    BatchRequest, BatchStarted, CancelError, Cancelled, KEY_LIFE, KEY_MAX, SendError, SendRequest,
    Sent,
};
pub use seams::{Ack, Change, Fleet, Outlet};
pub use shared::CommandNodes;
pub use turn::DispatchLoop;

use std::sync::Arc;

use crate::clock::Clock;
use crate::ports::{CommandSink, CommandStore};

/// What the dispatcher works with.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "ports need not be printable")]
pub struct DispatcherParts {
    /// Where commands are kept.
    pub store: Arc<dyn CommandStore>,
    /// How they leave.
    pub sink: Arc<dyn CommandSink>,
    /// Who is there.
    pub fleet: Arc<dyn Fleet>,
    /// Who wants to hear of it.
    pub outlet: Arc<dyn Outlet>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What it shares with other nodes; `None` where there is but one.
    pub nodes: Option<CommandNodes>,
}

/// Makes the door and the loop behind it. The loop must
/// [`recover`](DispatchLoop::recover) before its first turn.
#[must_use]
pub fn dispatcher(parts: DispatcherParts) -> (Arc<Dispatcher>, DispatchLoop) {
    let inbox = Arc::new(inbox::Inbox::default());
    let door = Dispatcher::new(&parts, Arc::clone(&inbox));
    (Arc::new(door), DispatchLoop::new(parts, inbox))
}
