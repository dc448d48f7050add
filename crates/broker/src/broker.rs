//! The broker as a whole: bind, run, stop; and the handle to work with it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::connection::Transport;
use crate::hooks::Hooks;
use crate::limits::{LimitError, Limits};
use crate::message::{Message, Stored};
use crate::reasons::{KickReason, Refusal};
use crate::registry::Registry;
use crate::router::{Delivery, Router};
use crate::session::SessionInfo;
use crate::shared::Shared;
use crate::stats::{Counters, Stats};
use crate::timers::Timers;
use crate::topic::{self, TopicError};
use crate::{listener, timers};

/// Where to listen and what to take at most.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses for plain TCP; a port may be 0.
    pub listen: Vec<SocketAddr>,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// One address and the default limits.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen: vec![listen],
            limits: Limits::default(),
        }
    }
}

/// Why a broker could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The limits make no sense.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// An address could not be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A broker whose addresses are bound. It serves once [run](Broker::run).
pub struct Broker {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Broker {
    /// Checks the limits and binds the addresses.
    ///
    /// # Errors
    /// [`BindError`] if the limits make no sense or an address is not free.
    #[expect(
        clippy::unused_async,
        reason = "sockets can only be made inside a runtime"
    )]
    pub async fn bind(config: Config, hooks: Arc<dyn Hooks>) -> Result<Self, BindError> {
        config.limits.check()?;
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in config.listen {
            let failed = |source| BindError::Listen { address, source };
            let listener = listener::bind(address).map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        let limits = Arc::new(config.limits);
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            hooks,
            router: Router::new(limits.clone(), counters.clone()),
            registry: Registry::default(),
            admission: Arc::new(Admission::new(&limits)),
            counters,
            timers: Timers::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            limits,
        });
        Ok(Self {
            shared,
            listeners,
            addresses,
        })
    }

    /// The addresses bound, in the order given, with their actual ports.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address bound.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// A handle to publish, list, kick and count, now and while it runs.
    #[must_use]
    pub fn handle(&self) -> BrokerHandle {
        BrokerHandle {
            shared: self.shared.clone(),
        }
    }

    /// Serves until `stop` is cancelled, then stops accepting, tells all clients
    /// (MQTT 5: reason 0x8B) and waits for them to go, for
    /// [`Limits::stop_timeout`] at most.
    ///
    /// # Errors
    /// [`RunError`] if a part of the broker ended by itself, which is a defect,
    /// or connections had not ended in time.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let shared = self.shared;
        let mut parts = JoinSet::new();
        parts.spawn(timers::run(shared.clone()));
        for listener in self.listeners {
            parts.spawn(listener::run(shared.clone(), listener));
        }
        let failed = tokio::select! {
            () = stop.cancelled() => false,
            _ = parts.join_next() => true,
        };
        shared.stop.cancel();
        while parts.join_next().await.is_some() {}
        shared.registry.stop();
        shared.tasks.close();
        let limit = shared.limits.stop_timeout;
        let drained = tokio::time::timeout(limit, shared.tasks.wait()).await;
        match (failed, drained) {
            (true, _) => Err(RunError::PartEnded),
            (false, Ok(())) => Ok(()),
            (false, Err(_)) => Err(RunError::NotDrained(shared.tasks.len())),
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Broker")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Why a broker did not run and stop as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A listener or the timers ended while they should run.
    #[error("a part of the broker ended by itself")]
    PartEnded,
    /// So many connections had not ended in time.
    #[error("{0} connections did not end in time")]
    NotDrained(usize),
}

/// Works with a running broker from anywhere; cheap to clone. Nothing here
/// blocks or waits.
#[derive(Clone)]
pub struct BrokerHandle {
    shared: Arc<Shared>,
}

impl BrokerHandle {
    /// Publishes a message as the application: no hook is asked or told.
    ///
    /// # Errors
    /// [`TopicError`] if the topic is not a valid name.
    pub fn publish(&self, message: Message) -> Result<Delivery, TopicError> {
        topic::check_name(&message.topic)?;
        let now = Instant::now();
        let message = Arc::new(Stored::of_message(message, now));
        Ok(self.shared.route(&message, now))
    }

    /// Retains a message without passing it on, to restore what was retained
    /// before a restart; an empty payload clears. False if there is no room.
    ///
    /// # Errors
    /// [`TopicError`] if the topic is not a valid name.
    pub fn set_retained(&self, message: Message) -> Result<bool, TopicError> {
        topic::check_name(&message.topic)?;
        let message = Stored::of_message(message.retained(), Instant::now());
        let retained = &self.shared.router.retained;
        Ok(retained.set(&Arc::new(message), &self.shared.limits))
    }

    /// Forgets the retained message of a topic; true if there was one.
    #[must_use]
    pub fn clear_retained(&self, topic: &str) -> bool {
        self.shared.router.retained.clear(topic)
    }

    /// Closes all connections of an identity; returns how many there were. With
    /// [`KickReason::Revoked`] its sessions are forgotten too, and who was let in
    /// before and is still connecting is refused.
    #[must_use]
    pub fn kick(&self, identity: &str, reason: KickReason) -> usize {
        self.kick_some(identity, None, reason)
    }

    /// Closes the connection of one client of an identity; true if there was
    /// one. With [`KickReason::Revoked`] its session is forgotten too.
    #[must_use]
    pub fn kick_client(&self, identity: &str, client_id: &str, reason: KickReason) -> bool {
        self.kick_some(identity, Some(client_id), reason) > 0
    }

    fn kick_some(&self, identity: &str, client_id: Option<&str>, reason: KickReason) -> usize {
        let now = Instant::now();
        let (kicked, away) = self.shared.registry.kick(identity, client_id, reason, now);
        if reason == KickReason::Revoked {
            for mailbox in away {
                if self.shared.registry.forget_if(&mailbox, |_| true) {
                    self.shared.timers.clear(mailbox.id);
                    self.shared.router.end(&mailbox, now);
                    mailbox.lock().will = None;
                }
            }
        }
        kicked
    }

    /// All sessions, connected or not, in no particular order.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.shared.registry.list()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Serves a connection that came another way than through the broker's own
    /// listeners: over TLS, over WebSocket, from a test. Must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// [`Refusal`] if there are too many connections; the hooks have heard it.
    pub fn serve(&self, io: impl Transport, peer: SocketAddr) -> Result<(), Refusal> {
        listener::serve(&self.shared, io, peer)
    }
}

impl fmt::Debug for BrokerHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BrokerHandle")
            .finish_non_exhaustive()
    }
}
