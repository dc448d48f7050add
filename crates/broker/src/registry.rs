//! All sessions, by identity and client identifier, and who of them is
//! connected. Here it is decided whose connection wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::conflict::{Swap, SwapLog};
use crate::limits::Limits;
use crate::link::Link;
use crate::message::Will;
use crate::reasons::{Disconnect, KickReason};
use crate::session::{Absence, Live, Mailbox, MailboxState, Session, SessionInfo};

/// Sessions by identity.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    identities: HashMap<Arc<str>, IdentityEntry>,
    /// Sessions of all identities together.
    sessions: usize,
    last_id: u64,
    /// When identities were revoked, for as long as someone who was let in
    /// before may still be on the way to its session.
    revoked: HashMap<Arc<str>, Instant>,
    stopping: bool,
}

#[derive(Debug, Default)]
struct IdentityEntry {
    /// By client identifier. An exclusive identity has one at most.
    sessions: HashMap<Arc<str>, Arc<Mailbox>>,
    swaps: Option<Box<SwapLog>>,
}

/// What a connection wants of its session.
#[derive(Debug)]
pub(crate) struct Wish {
    /// When the connection was made.
    pub(crate) since: Instant,
    pub(crate) clean_start: bool,
    /// How long to keep the session when the client goes.
    pub(crate) keep: Duration,
    pub(crate) will: Option<Box<Will>>,
}

/// The next step of a connection that wants its session.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It has it.
    Granted(Granted),
    /// An older connection has been told to go; wait for its end, try again.
    Wait(Live),
    /// Its identity is held off; `began` with the number of takeovers if this
    /// attempt is what began it.
    HeldOff { holder: Live, began: Option<u32> },
    /// There are too many sessions.
    Full,
    /// Its identity was revoked after it had been let in.
    Revoked,
    /// The broker is stopping.
    Stopping,
}

/// A session, with what has to be cleared away for it.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) mailbox: Arc<Mailbox>,
    /// Whether it existed before.
    pub(crate) present: bool,
    /// Sessions that this one replaces, to be ended by the caller.
    pub(crate) replaced: Vec<Arc<Mailbox>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a session or connection, never given twice.
    pub(crate) fn next_id(&self) -> u64 {
        let mut inner = self.lock();
        inner.last_id += 1;
        inner.last_id
    }

    /// Claims the session of a connection. `wish` is used up when it is granted.
    pub(crate) fn claim(
        &self,
        session: &Arc<Session>,
        link: &Arc<Link>,
        wish: &mut Wish,
        limits: &Limits,
        now: Instant,
    ) -> Claim {
        let mut inner = self.lock();
        if inner.stopping {
            return Claim::Stopping;
        }
        let Inner {
            identities,
            sessions,
            last_id,
            revoked,
            ..
        } = &mut *inner;
        let identity = session.identity();
        if revoked
            .get(&identity.name)
            .is_some_and(|at| *at >= wish.since)
        {
            return Claim::Revoked;
        }
        let entry = identities.entry(identity.name.clone()).or_default();
        if let Some(rival) = entry.rival(session) {
            return entry.take_over(rival, identity.exclusive, limits, now);
        }
        let kept = entry.find(session, wish.clean_start);
        if *sessions >= limits.sessions && !entry.has_place(session) {
            if entry.sessions.is_empty() && entry.swaps.is_none() {
                identities.remove(&identity.name);
            }
            return Claim::Full;
        }
        let replaced = entry.replace(session, kept.as_ref());
        let present = kept.is_some();
        let mailbox = kept.unwrap_or_else(|| {
            *last_id += 1;
            let client_id = session.shared_client_id().clone();
            let mailbox = Mailbox::new(*last_id, client_id.clone(), identity.name.clone());
            let mailbox = Arc::new(mailbox);
            entry.sessions.insert(client_id, mailbox.clone());
            *sessions += 1;
            mailbox
        });
        *sessions -= replaced.len();
        attach(&mailbox, session, link, wish);
        Claim::Granted(Granted {
            mailbox,
            present,
            replaced,
        })
    }

    /// Parts a session from its connection. It stays for `absence`, or is taken
    /// out if there is none; the caller then ends it.
    pub(crate) fn detach(&self, mailbox: &Arc<Mailbox>, absence: Option<Absence>) {
        let mut inner = self.lock();
        let over = absence.is_none();
        {
            let mut state = mailbox.lock();
            state.live = None;
            state.absence = absence;
        }
        if over {
            inner.remove(mailbox);
        }
    }

    /// Takes a session out if nobody is connected and `condition` holds; true if
    /// it was taken out, and the caller must end it.
    pub(crate) fn forget_if(
        &self,
        mailbox: &Arc<Mailbox>,
        condition: impl FnOnce(&MailboxState) -> bool,
    ) -> bool {
        let mut inner = self.lock();
        {
            let state = mailbox.lock();
            if state.live.is_some() || state.over || !condition(&state) {
                return false;
            }
        }
        inner.remove(mailbox)
    }

    /// Orders the connections of an identity, or of one of its clients, to close;
    /// returns how many there were, and the sessions without a connection.
    pub(crate) fn kick(
        &self,
        identity: &str,
        client_id: Option<&str>,
        reason: KickReason,
        now: Instant,
    ) -> (usize, Vec<Arc<Mailbox>>) {
        let mut inner = self.lock();
        if reason == KickReason::Revoked && client_id.is_none() {
            inner.revoked.insert(identity.into(), now);
        }
        let mut kicked = 0;
        let mut away = Vec::new();
        let entry = inner.identities.get(identity).into_iter();
        let sessions = entry.flat_map(|entry| entry.sessions.values());
        for mailbox in sessions.filter(|it| client_id.is_none_or(|id| *id == *it.client_id)) {
            match mailbox.live() {
                Some(live) => {
                    live.link.close(Disconnect::Kicked(reason));
                    kicked += 1;
                }
                None => away.push(mailbox.clone()),
            }
        }
        (kicked, away)
    }

    /// Takes no more connections, and orders all that are there to close.
    pub(crate) fn stop(&self) {
        let mut inner = self.lock();
        inner.stopping = true;
        for mailbox in inner.mailboxes() {
            if let Some(live) = mailbox.live() {
                live.link.close(Disconnect::ServerStopping);
            }
        }
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().sessions
    }

    /// All sessions.
    pub(crate) fn list(&self) -> Vec<SessionInfo> {
        let mailboxes: Vec<_> = self.lock().mailboxes().cloned().collect();
        mailboxes.iter().map(|mailbox| describe(mailbox)).collect()
    }

    /// Forgets takeovers and revocations that say nothing any more.
    pub(crate) fn sweep(&self, limits: &Limits, now: Instant) {
        let mut inner = self.lock();
        inner
            .revoked
            .retain(|_, at| now.duration_since(*at) <= limits.connect_timeout);
        inner.identities.retain(|_, entry| {
            if entry
                .swaps
                .as_ref()
                .is_some_and(|swaps| swaps.is_stale(now))
            {
                entry.swaps = None;
            }
            entry.swaps.is_some() || !entry.sessions.is_empty()
        });
    }
}

impl Inner {
    /// Takes a session out unless another has its place by now.
    fn remove(&mut self, mailbox: &Arc<Mailbox>) -> bool {
        let Some(entry) = self.identities.get_mut(&mailbox.identity) else {
            return false;
        };
        let found = entry.sessions.get(&mailbox.client_id);
        if found.is_none_or(|found| found.id != mailbox.id) {
            return false;
        }
        entry.sessions.remove(&mailbox.client_id);
        if entry.sessions.is_empty() && entry.swaps.is_none() {
            self.identities.remove(&mailbox.identity);
        }
        self.sessions -= 1;
        true
    }

    fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.identities
            .values()
            .flat_map(|entry| entry.sessions.values())
    }
}

impl IdentityEntry {
    /// The connection that must go before `session` can be.
    fn rival(&self, session: &Session) -> Option<Live> {
        if session.identity().exclusive {
            return self.sessions.values().find_map(|mailbox| mailbox.live());
        }
        self.sessions.get(session.client_id())?.live()
    }

    fn take_over(&mut self, rival: Live, exclusive: bool, limits: &Limits, now: Instant) -> Claim {
        // Whoever else waits for the same end does not count as a takeover.
        if exclusive && rival.link.closing().is_none() {
            let swaps = self.swaps.get_or_insert_default();
            match swaps.attempt(limits.swaps_per_min, limits.hold_off, now) {
                Swap::Allowed => {}
                Swap::ConflictBegins(count) => {
                    return Claim::HeldOff {
                        holder: rival,
                        began: Some(count),
                    };
                }
                Swap::HeldOff => {
                    return Claim::HeldOff {
                        holder: rival,
                        began: None,
                    };
                }
            }
        }
        rival.link.close(Disconnect::TakenOver);
        Claim::Wait(rival)
    }

    /// Whether the connection resumes or replaces a session, and so needs no
    /// room for another.
    fn has_place(&self, session: &Session) -> bool {
        if session.identity().exclusive {
            return !self.sessions.is_empty();
        }
        self.sessions.contains_key(session.client_id())
    }

    fn find(&self, session: &Session, clean_start: bool) -> Option<Arc<Mailbox>> {
        if clean_start {
            return None;
        }
        self.sessions.get(session.client_id()).cloned()
    }

    /// Takes out the sessions that a connection replaces: the one it would not
    /// resume and, for an exclusive identity, those of other client identifiers.
    fn replace(&mut self, session: &Session, kept: Option<&Arc<Mailbox>>) -> Vec<Arc<Mailbox>> {
        if session.identity().exclusive {
            let kept = kept.map(|mailbox| mailbox.id);
            return self
                .sessions
                .extract_if(|_, mailbox| Some(mailbox.id) != kept)
                .map(|(_, mailbox)| mailbox)
                .collect();
        }
        match kept {
            Some(_) => Vec::new(),
            None => self
                .sessions
                .remove(session.client_id())
                .into_iter()
                .collect(),
        }
    }
}

fn attach(mailbox: &Mailbox, session: &Arc<Session>, link: &Arc<Link>, wish: &mut Wish) {
    let mut state = mailbox.lock();
    state.live = Some(Live {
        session: session.clone(),
        link: link.clone(),
    });
    state.absence = None;
    state.keep = wish.keep;
    state.will = wish.will.take();
    state.inflight.resume();
}

fn describe(mailbox: &Mailbox) -> SessionInfo {
    let state = mailbox.lock();
    let session = state.live.as_ref().map(|live| &live.session);
    SessionInfo {
        client_id: mailbox.client_id.clone(),
        identity: mailbox.identity.clone(),
        peer: session.map(|session| session.peer()),
        protocol: session.map(|session| session.protocol()),
        number: session.map(|session| session.number()),
        subscriptions: state.filters.len(),
        queued: state.queue.len(),
        inflight: state.inflight.len(),
    }
}
