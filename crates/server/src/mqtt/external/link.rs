//! The services' side of the link, and what it says of itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{
    CommandSink, EnrolSink, KickReason, NotSent, OutboundCommand, SessionControl,
};
use dormouse_core::topic::{Channel, Topics};
use dormouse_core::wire::EnrolBody;
use tokio::time::Instant;

use super::outbox::{Outgoing, Slit};
use super::problem::LinkError;
use super::window::Window;

/// How long credentials wait for a device that is just reconnecting.
const ENROL_EXPIRY: Duration = Duration::from_secs(60);

/// Whether the link works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Connected and subscribed.
    Up {
        /// Since when.
        since: Timestamp,
    },
    /// Not so.
    Down {
        /// Since when.
        since: Timestamp,
        /// Why, for people; names no host.
        reason: String,
    },
}

/// What the link has counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStats {
    /// Whether it is connected and subscribed now.
    pub connected: bool,
    /// Messages received.
    pub received: u64,
    /// Messages refused because nobody knows their device or topic.
    pub unknown: u64,
    /// Messages sent to the broker.
    pub sent: u64,
    /// Messages that the broker refused.
    pub refused: u64,
    /// Messages received and not acknowledged yet.
    pub unacknowledged: u64,
    /// Messages sent and not acknowledged by the broker yet.
    pub in_flight: u64,
    /// How often the connection was lost.
    pub losses: u64,
    /// Sessions of other nodes taken over and emptied.
    pub adopted: u64,
}

/// What the tasks of the link tell.
pub(super) struct Status {
    state: Mutex<LinkState>,
    clock: Arc<dyn Clock>,
    pub(super) received: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Of the connection of this node's own session.
    window: Mutex<Arc<Window>>,
    pub(super) in_flight: AtomicU64,
    losses: AtomicU64,
    pub(super) adopted: AtomicU64,
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("state", &*self.lock())
            .finish_non_exhaustive()
    }
}

impl Status {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let since = clock.now();
        Self {
            state: Mutex::new(LinkState::Down {
                since,
                reason: "connecting".to_owned(),
            }),
            clock,
            received: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            window: Mutex::default(),
            in_flight: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            adopted: AtomicU64::new(0),
        }
    }

    /// The link works; said once.
    pub(super) fn up(&self, client_id: &str, version: &str, resumed: bool) {
        let since = self.clock.now();
        let was = std::mem::replace(&mut *self.lock(), LinkState::Up { since });
        if matches!(was, LinkState::Down { .. }) {
            tracing::info!(client_id, version, resumed, "connected to the broker");
        }
    }

    /// The link does not work; said once, until it works again.
    pub(super) fn down(&self, error: &LinkError) {
        let reason = error.without_host();
        let mut state = self.lock();
        match &mut *state {
            LinkState::Up { .. } => {
                let since = self.clock.now();
                self.losses.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(reason = %error, "no connection to the broker; trying again");
                *state = LinkState::Down { since, reason };
            }
            LinkState::Down { reason: known, .. } => {
                tracing::debug!(reason = %error, "still no connection to the broker");
                *known = reason;
            }
        }
    }

    /// Shows the messages that wait in `window` from now on.
    pub(super) fn show(&self, window: Arc<Window>) {
        *self.window() = window;
    }

    fn window(&self) -> MutexGuard<'_, Arc<Window>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the link works.
    pub(super) fn is_up(&self) -> bool {
        matches!(*self.lock(), LinkState::Up { .. })
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way out to devices over an external broker.
#[derive(Debug)]
pub struct ExternalLink {
    topics: Topics,
    slit: Slit,
    status: Arc<Status>,
}

impl ExternalLink {
    pub(super) const fn new(topics: Topics, slit: Slit, status: Arc<Status>) -> Self {
        Self {
            topics,
            slit,
            status,
        }
    }

    /// Whether it works, since when, and why not.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.status.lock().clone()
    }

    /// What it has counted.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let status = &self.status;
        let load = |it: &AtomicU64| it.load(Ordering::Relaxed);
        LinkStats {
            connected: status.is_up(),
            received: load(&status.received),
            unknown: load(&status.unknown),
            sent: load(&status.sent),
            refused: load(&status.refused),
            unacknowledged: status.window().len() as u64,
            in_flight: load(&status.in_flight),
            losses: load(&status.losses),
            adopted: load(&status.adopted),
        }
    }

    fn send(&self, topic: String, payload: Bytes, ttl: Duration) -> Result<(), NotSent> {
        if !self.status.is_up() {
            return Err(NotSent("there is no connection to the broker".to_owned()));
        }
        self.slit.put(Outgoing {
            topic,
            payload,
            expires: Instant::now() + ttl,
        })
    }
}

impl CommandSink for ExternalLink {
    fn publish(&self, command: &OutboundCommand) -> Result<(), NotSent> {
        let body = serde_json::to_vec(&command.body).map_err(|error| NotSent(error.to_string()))?;
        let topic = self.topics.of(&command.body.device_id, Channel::Cmd);
        self.send(topic, body.into(), command.ttl)?;
        tracing::info!(
            device_id = %command.body.device_id,
            cmd_id = %command.body.cmd_id,
            socket = command.body.socket_id.get(),
            action = ?command.body.action,
            "command sent"
        );
        Ok(())
    }
}

/// An external broker does not say in time whether the device listens: what
/// was handed to it counts as taken, and the join key stays good until the
/// credentials are first used.
impl EnrolSink for ExternalLink {
    fn hand_over(&self, device: &DeviceId, credentials: &EnrolBody) -> bool {
        let Ok(body) = serde_json::to_vec(credentials) else {
            return false;
        };
        let topic = self.topics.of(device, Channel::Enrol);
        self.send(topic, body.into(), ENROL_EXPIRY).is_ok()
    }
}

/// For a broker that cannot be told that a device was revoked: its messages
/// are dropped on their way in, but its session goes on.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRevocation;

impl SessionControl for NoRevocation {
    fn kick(&self, device: &DeviceId, reason: KickReason) {
        tracing::warn!(
            device_id = %device,
            ?reason,
            "this node has no way to end a session at the broker; where no other node keeps the broker's files, end it there"
        );
    }
}
