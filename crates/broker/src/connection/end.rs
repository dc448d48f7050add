//! A client's hold on its session, and how it lets go.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use crate::codec::QoS;
use crate::link::Link;
use crate::message::Will;
use crate::reasons::{Disconnect, KickReason};
use crate::session::{Absence, Mailbox, Session};
use crate::shared::Shared;
use crate::stats::count;

/// A connection's hold on its session. However the connection ends, even by a
/// panic of a hook, the session is let go once.
pub(super) struct Attachment {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) link: Arc<Link>,
    ended: bool,
}

impl Attachment {
    pub(super) fn new(
        shared: Arc<Shared>,
        session: Arc<Session>,
        mailbox: Arc<Mailbox>,
        link: Arc<Link>,
    ) -> Self {
        Self {
            shared,
            session,
            mailbox,
            link,
            ended: false,
        }
    }

    /// Lets go: tells the application, publishes the will if it is due, keeps or
    /// ends the session, and makes way for a connection that waits. Returns the
    /// reason that counts: an order to close wins over what it led to.
    pub(super) fn end(&mut self, reason: Disconnect) -> Disconnect {
        let reason = self.link.closing().unwrap_or(reason);
        if std::mem::replace(&mut self.ended, true) {
            return reason;
        }
        self.count(reason);
        self.shared
            .guarded(|hooks| hooks.disconnected(&self.session, &reason));
        let now = Instant::now();
        let (will, absence) = self.part(reason, now);
        if let Some(will) = will {
            self.shared
                .publish_will(&self.session, &self.mailbox, *will);
        }
        let next = absence.as_ref().map(Absence::next);
        self.shared.registry.detach(&self.mailbox, absence);
        match next {
            Some(at) => self.shared.timers.set(&self.mailbox, at),
            None => self.shared.router.end(&self.mailbox, now),
        }
        self.link.set_ended();
        reason
    }

    /// Settles what the session keeps: returns the will if it is due now, and
    /// the absence unless the session is over.
    fn part(&self, reason: Disconnect, now: Instant) -> (Option<Box<Will>>, Option<Absence>) {
        let mut state = self.mailbox.lock();
        if !reason.publishes_will() {
            state.will = None;
        }
        let queued_bytes = &self.shared.router.queued_bytes;
        let dropped = state
            .queue
            .retain(queued_bytes, |item| item.qos != QoS::AtMostOnce);
        count(&self.shared.counters.dropped_offline, dropped as u64);
        let revoked = reason == Disconnect::Kicked(KickReason::Revoked);
        if revoked || state.keep.is_zero() {
            return (state.will.take(), None);
        }
        let delay = state.will.as_ref().map(|will| will.delay);
        let due = if delay.is_some_and(|delay| delay.is_zero()) {
            state.will.take()
        } else {
            None
        };
        let absence = Absence {
            session: self.session.clone(),
            will_at: delay
                .filter(|delay| !delay.is_zero())
                .map(|delay| now + delay),
            end_at: now + state.keep,
        };
        (due, Some(absence))
    }

    fn count(&self, reason: Disconnect) {
        let counters = &self.shared.counters;
        let counter = match reason {
            Disconnect::BadPacket(_) | Disconnect::ReceiveMaximumExceeded => {
                &counters.protocol_errors
            }
            Disconnect::CommitFailed => &counters.commit_failed,
            Disconnect::AckOverdue => &counters.ack_overdue,
            Disconnect::SlowConsumer => &counters.slow_consumers,
            Disconnect::TakenOver => &counters.takeovers,
            Disconnect::Internal => &counters.panics,
            Disconnect::Client
            | Disconnect::ClientWithWill(_)
            | Disconnect::ConnectionLost
            | Disconnect::KeepAliveTimeout
            | Disconnect::Kicked(_)
            | Disconnect::ServerStopping => return,
        };
        count(counter, 1);
    }
}

impl Drop for Attachment {
    /// Only a task that panicked comes here without having ended.
    fn drop(&mut self) {
        if !self.ended {
            self.end(Disconnect::Internal);
        }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Attachment")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
