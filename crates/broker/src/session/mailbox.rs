//! A session's state: what waits for the client, what is in flight, what it has
//! subscribed to. It outlives the connection as long as the session does.

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Inflight, Outgoing, Queue, Session};
use crate::codec::QoS;
use crate::limits::Limits;
use crate::link::Link;
use crate::message::Will;

/// A session. Its lock is held for moments only, never while another is taken.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Never 0, never used again.
    pub(crate) id: u64,
    pub(crate) client_id: Arc<str>,
    pub(crate) identity: Arc<str>,
    state: Mutex<MailboxState>,
}

/// The connection that a session has now.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) session: Arc<Session>,
    pub(crate) link: Arc<Link>,
}

/// A client that is away: what happens when, unless it comes back before.
#[derive(Debug, Clone)]
pub(crate) struct Absence {
    /// The connection that it last had.
    pub(crate) session: Arc<Session>,
    /// When the will is due, if one waits.
    pub(crate) will_at: Option<Instant>,
    /// When the session ends.
    pub(crate) end_at: Instant,
}

impl Absence {
    /// When something is due next.
    pub(crate) fn next(&self) -> Instant {
        self.will_at.map_or(self.end_at, |at| at.min(self.end_at))
    }
}

/// What is behind a session's lock.
#[derive(Debug, Default)]
pub(crate) struct MailboxState {
    pub(crate) live: Option<Live>,
    pub(crate) queue: Queue,
    pub(crate) inflight: Inflight,
    /// QoS 2 publications received and not yet released by the client.
    pub(crate) received: HashSet<u16>,
    /// The filters subscribed to, as the client wrote them.
    pub(crate) filters: HashSet<Box<str>>,
    /// The will of the connection, or of the last one while it is delayed.
    pub(crate) will: Option<Box<Will>>,
    /// How long the session stays when the client goes.
    pub(crate) keep: Duration,
    /// What is due while the client is away.
    pub(crate) absence: Option<Absence>,
    /// The session is over; nothing is taken any more.
    pub(crate) over: bool,
}

/// What became of a message offered to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It goes to a connected client.
    Live,
    /// It waits for the client to come back.
    Queued,
    /// No room.
    Full,
    /// QoS 0, and the client is away.
    Offline,
    /// The session is over.
    Over,
}

impl Mailbox {
    pub(crate) fn new(id: u64, client_id: Arc<str>, identity: Arc<str>) -> Self {
        Self {
            id,
            client_id,
            identity,
            state: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, MailboxState> {
        // The state is consistent between any two statements that change it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, if there is one.
    pub(crate) fn live(&self) -> Option<Live> {
        self.lock().live.clone()
    }

    /// Whether the client is connected.
    pub(crate) fn is_live(&self) -> bool {
        self.lock().live.is_some()
    }

    /// Offers a message; wakes the connection if it is to send it.
    pub(crate) fn offer(
        &self,
        outgoing: Outgoing,
        limits: &Limits,
        total: &AtomicUsize,
        now: Instant,
    ) -> Offer {
        let mut state = self.lock();
        if state.over {
            return Offer::Over;
        }
        if state.live.is_none() && outgoing.qos == QoS::AtMostOnce {
            return Offer::Offline;
        }
        if !state.queue.push(outgoing, limits, total, now) {
            return Offer::Full;
        }
        match &state.live {
            None => Offer::Queued,
            Some(live) => {
                let link = live.link.clone();
                drop(state);
                link.raise();
                Offer::Live
            }
        }
    }

    /// Ends the session and forgets everything but its will.
    pub(crate) fn end(&self, total: &AtomicUsize) -> Remains {
        let mut state = self.lock();
        state.over = true;
        state.absence = None;
        state.received = HashSet::new();
        // A QoS 2 message that may have been received must go to nobody else.
        let sent = state.inflight.take_all();
        let sent = sent.filter(|outgoing| outgoing.qos == QoS::AtLeastOnce);
        let mut orphans: Vec<_> = sent.collect();
        orphans.extend(state.queue.take_all(total));
        orphans.retain(|outgoing| outgoing.group.is_some() && outgoing.qos != QoS::AtMostOnce);
        Remains {
            filters: state.filters.drain().collect(),
            orphans,
        }
    }
}

/// What a session leaves behind.
#[derive(Debug)]
pub(crate) struct Remains {
    /// The filters that it had subscribed to.
    pub(crate) filters: Vec<Box<str>>,
    /// Messages of shared subscriptions, for other members of the group.
    pub(crate) orphans: Vec<Outgoing>,
}
