//! The log of what happened: told to watchers at once, kept soon after.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::event::Event;
use crate::live::{EventMessage, EventNotice, LiveHub, LiveMessage, PresenceMessage};
use crate::ports::{EventMirror, EventQuery, EventStore, PortError};
use crate::presence::{Presence, PresenceState};

/// The most events that wait for the store. One more is dropped and counted:
/// the server's own events come from changes of presence and from people,
/// and presence corrects itself at the next start.
const WAITING_MAX: usize = 100_000;
/// The most events in one write.
const BATCH: usize = 1_000;
/// How many events are kept at hand for new watchers.
const RECENT: usize = 50;

/// Records events.
pub struct EventLog {
    store: Arc<dyn EventStore>,
    mirror: Option<Arc<dyn EventMirror>>,
    live: Arc<LiveHub>,
    clock: Arc<dyn Clock>,
    waiting: Mutex<VecDeque<Event>>,
    arrived: Notify,
    flushing: tokio::sync::Mutex<()>,
    recent: Mutex<VecDeque<EventMessage>>,
    dropped: AtomicU64,
}

impl EventLog {
    /// A log over `store` that tells `live`.
    #[must_use]
    pub fn new(store: Arc<dyn EventStore>, live: Arc<LiveHub>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            mirror: None,
            live,
            clock,
            waiting: Mutex::default(),
            arrived: Notify::new(),
            flushing: tokio::sync::Mutex::default(),
            recent: Mutex::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// The same log, which also shows what happens to `mirror`.
    #[must_use]
    pub fn mirrored(mut self, mirror: Option<Arc<dyn EventMirror>>) -> Self {
        self.mirror = mirror;
        self
    }

    /// Tells watchers of `event` and queues it for the store. Never waits.
    pub fn record(&self, event: Event) {
        self.announce(&event);
        self.keep(event);
    }

    /// Records a change of presence: its own message takes the place of the
    /// general one.
    pub(crate) fn record_presence(&self, event: Event, presence: Presence) {
        self.announce_presence(&event, presence);
        self.show(&event);
        self.keep(event);
    }

    /// Tells watchers of a change of presence that somebody else keeps.
    pub(crate) fn announce_presence(&self, event: &Event, presence: Presence) {
        if let Some((_, device)) = &event.device {
            let message = PresenceMessage {
                device_id: device.clone(),
                presence,
                event_id: event.id,
            };
            self.remember(event);
            self.live.publish(&match presence.state {
                PresenceState::Online => LiveMessage::DeviceOnline(message),
                PresenceState::Offline | PresenceState::Never => {
                    LiveMessage::DeviceOffline(message)
                }
            });
        }
    }

    /// Tells watchers of `event`, which the caller keeps itself.
    pub fn announce(&self, event: &Event) {
        self.show(event);
        self.remember(event);
        self.live.publish(&LiveMessage::Event(EventNotice {
            device_id: event.device.as_ref().map(|(_, id)| id.clone()),
            event: EventMessage::from(event),
        }));
    }

    fn show(&self, event: &Event) {
        if let Some(mirror) = &self.mirror {
            mirror.note(event);
        }
    }

    fn remember(&self, event: &Event) {
        let mut recent = lock(&self.recent);
        recent.truncate(RECENT - 1);
        recent.push_front(event.into());
    }

    fn keep(&self, event: Event) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() < WAITING_MAX {
            waiting.push_back(event);
            drop(waiting);
            self.arrived.notify_one();
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The latest events, newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<EventMessage> {
        lock(&self.recent).iter().cloned().collect()
    }

    /// The latest events of every node, newest first: those that are kept, and
    /// this node's own that are not yet.
    pub async fn recent_of_all(&self) -> Vec<EventMessage> {
        let query = EventQuery {
            limit: RECENT,
            ..EventQuery::default()
        };
        let mut all = self.recent();
        // What cannot be read now is not shown.
        let kept = self.store.list(&query).await.unwrap_or_default();
        let known: std::collections::HashSet<_> = all.iter().map(|it| it.id).collect();
        let others = kept.iter().filter(|it| !known.contains(&it.id));
        all.extend(others.map(EventMessage::from));
        all.sort_by_key(|it| std::cmp::Reverse((it.ts, it.id)));
        all.truncate(RECENT);
        all
    }

    /// Events dropped since the start because the store was down for too long.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until something waits for the store.
    pub async fn arrived(&self) {
        loop {
            let arrived = self.arrived.notified();
            if !lock(&self.waiting).is_empty() {
                return;
            }
            arrived.await;
        }
    }

    /// Hands what waits to the store; returns how many.
    ///
    /// # Errors
    /// When the store fails. What it did not take waits on.
    pub async fn flush(&self) -> Result<usize, PortError> {
        let _one_at_a_time = self.flushing.lock().await;
        let mut written = 0;
        loop {
            let batch: Vec<Event> = lock(&self.waiting).iter().take(BATCH).cloned().collect();
            if batch.is_empty() {
                return Ok(written);
            }
            self.store.append(&batch).await?;
            // Others only append: these are still in front.
            lock(&self.waiting).drain(..batch.len());
            written += batch.len();
        }
    }

    /// Lists events, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, query: &EventQuery) -> Result<Vec<Event>, PortError> {
        self.store.list(query).await
    }

    /// The last change of presence of each device.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn last_presence(&self) -> Result<Vec<Event>, PortError> {
        self.store.last_presence().await
    }

    /// Deletes events older than `keep_days`, a batch at a time, and returns how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prune(&self, keep_days: u32) -> Result<usize, PortError> {
        let keep = std::time::Duration::from_secs(u64::from(keep_days) * 86_400);
        let before: Timestamp = self.clock.now() - keep;
        let mut pruned = 0;
        loop {
            let step = self.store.prune(before, BATCH).await?;
            pruned += step;
            if step < BATCH {
                return Ok(pruned);
            }
        }
    }
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog")
            .field("waiting", &lock(&self.waiting).len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
