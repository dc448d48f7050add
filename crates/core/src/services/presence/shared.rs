//! Presence among several nodes.
//!
//! Whatever a node hears it tells the log that all of them read, and each
//! node's devices change only as the log says: all nodes come to the same
//! state and to the same events, with the same ids. What time alone decides,
//! that a silence has lasted too long, the leader finds and tells the log as
//! well. Only the leader keeps the events, those that an earlier leader did
//! not come to included.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::PresenceTracker;
use super::followed::{Followed, Place, Unkept};
use super::outgoing::{Outgoing, WAITING_MAX};
use super::record::{News, Record, encode};
use super::slots::Slot;
use crate::clock::{Instant, Timestamp};
use crate::event::Event;
use crate::ids::{DeviceKey, EventId};
use crate::memory::lock;
use crate::ports::nodes::{Exchange, Fence, LastSeen, LogPosition, NodeId};
use crate::ports::{EventStore, PortError};
use crate::presence::{Presence, PresenceState};
use crate::services::nodes::LeaseKeeper;

/// The longest that signs of life wait to be told.
pub const TELL_EVERY: Duration = Duration::from_millis(200);
/// How long nobody is declared silent after a node was found dead: what it
/// had not taken in is brought by others until then.
const HOLD: Duration = Duration::from_secs(3);
/// How soon a silence is told again that did not come back with the log.
pub(super) const SILENT_AGAIN: Duration = Duration::from_secs(2);
/// The least that a silence is looked at again after its end: signs of life
/// may be on their way from other nodes.
pub(super) const SETTLE_SHARED: Duration = Duration::from_millis(400);
/// Entries read at once at the start.
const READ: usize = 512;
/// Events in one write.
const KEEP: usize = 1_000;

/// What the trackers of several nodes share.
#[derive(Clone)]
pub struct PresenceNodes {
    /// Which node this is.
    pub node: NodeId,
    /// The log.
    pub exchange: Arc<dyn Exchange>,
    /// When devices were seen last.
    pub last_seen: Arc<dyn LastSeen>,
    /// Who holds it leads.
    pub lease: Arc<LeaseKeeper>,
    /// Where the leader keeps changes.
    pub store: Arc<dyn EventStore>,
}

impl std::fmt::Debug for PresenceNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresenceNodes")
            .field("node", &self.node)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// One node's side of what is shared.
pub(super) struct Shared {
    pub(super) nodes: PresenceNodes,
    outgoing: Mutex<Outgoing>,
    urgent: Notify,
    pub(super) followed: Mutex<Followed>,
    /// Since when nothing comes from the broker to this node.
    cut_off: Mutex<Option<Instant>>,
    hold_ms: AtomicU64,
}

impl Shared {
    pub(super) fn new(nodes: PresenceNodes) -> Self {
        Self {
            nodes,
            outgoing: Mutex::default(),
            urgent: Notify::new(),
            followed: Mutex::default(),
            cut_off: Mutex::default(),
            hold_ms: AtomicU64::new(0),
        }
    }

    /// Tells the others of a sign of life: at once where the device was not
    /// online, else soon.
    pub(super) fn seen(&self, key: DeviceKey, at: Timestamp, is_online: bool) {
        self.nodes.last_seen.seen(key, at);
        let mut outgoing = lock(&self.outgoing);
        outgoing.alive(key, at);
        let is_full = outgoing.len() >= WAITING_MAX;
        drop(outgoing);
        if is_full {
            self.tell();
        } else if !is_online {
            self.urgent.notify_one();
        }
    }

    /// Tells the others at once.
    pub(super) fn news(&self, device: DeviceKey, at: Timestamp, news: News) {
        if matches!(news, News::Status { .. }) {
            self.nodes.last_seen.seen(device, at);
        }
        self.push(Record::Heard { device, at, news });
    }

    fn push(&self, record: Record) {
        let mut outgoing = lock(&self.outgoing);
        outgoing.push(record);
        let is_full = outgoing.len() >= WAITING_MAX;
        drop(outgoing);
        if is_full {
            self.tell();
        } else {
            self.urgent.notify_one();
        }
    }

    fn tell(&self) {
        // Under the lock, so that nothing overtakes it.
        let mut outgoing = lock(&self.outgoing);
        let records = outgoing.take();
        if !records.is_empty() {
            self.nodes.exchange.log(encode(&records));
        }
    }

    fn hold_until(&self) -> Instant {
        Instant::from_origin(Duration::from_millis(self.hold_ms.load(Ordering::SeqCst)))
    }

    /// Notes a change of which all nodes make the same event.
    pub(super) fn keep(&self, event: Event, presence: Presence) {
        lock(&self.followed).keep(event, presence);
    }
}

impl Place {
    /// The id that every node gives the change found here.
    pub(super) fn event_id(&self, device: DeviceKey, to: PresenceState, at: Timestamp) -> EventId {
        let text = format!("{} {} {} {to:?}", device.0, self.entry.0, self.record);
        let digest = Sha256::digest(text.as_bytes());
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        let ms = u64::try_from(at.as_millis()).unwrap_or(0);
        EventId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }
}

impl PresenceTracker {
    /// Whether this node declares silences and keeps events; the only one
    /// always does.
    #[must_use]
    pub fn leads(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_none_or(|it| it.nodes.lease.held().is_some())
    }

    /// For how long nothing has come from the broker to this node of several.
    #[must_use]
    pub fn cut_off_for(&self) -> Duration {
        let since = self.shared.as_ref().and_then(|it| *lock(&it.cut_off));
        since.map_or(Duration::ZERO, |since| {
            self.parts.clock.instant().since(since)
        })
    }

    /// Whether there are other nodes.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Tells the others what was heard since the last time. Call it every
    /// [`TELL_EVERY`], and whenever [`Self::to_tell`] returns.
    pub fn tell(&self) {
        if let Some(shared) = &self.shared {
            shared.tell();
        }
    }

    /// Waits until something was heard that others should know at once.
    pub async fn to_tell(&self) {
        match &self.shared {
            Some(shared) => shared.urgent.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Takes up what the site knows: the changes that are kept, and the log
    /// since. Call it once, before the first [`Self::follow`].
    ///
    /// # Errors
    /// When the database does not answer. A log that does not is done without.
    pub async fn catch_up(&self) -> Result<(), PortError> {
        let Some(shared) = &self.shared else {
            self.restore(&self.parts.events.last_presence().await?);
            return Ok(());
        };
        // In this order: what the log is read from on must not be newer than
        // what is read from the database.
        let noted = shared.nodes.lease.noted().await?;
        self.restore(&self.parts.events.last_presence().await?);
        let seen = shared.nodes.last_seen.last_seen().await;
        for (key, at) in seen.unwrap_or_default() {
            if let Some(slot) = self.slots.get(key) {
                slot.seen(at);
            }
        }
        let mut from = noted.map(|text| LogPosition(text.into()));
        loop {
            let read = shared.nodes.exchange.read(from.as_ref(), READ).await;
            let entries = read.unwrap_or_default();
            for (position, entry) in &entries {
                self.follow_entry(shared, position, entry);
                lock(&shared.followed).read_ahead(position.clone());
            }
            match entries.last() {
                Some((last, _)) => from = Some(last.clone()),
                None => return Ok(()),
            }
        }
    }

    /// Follows the log.
    pub fn follow(&self, entries: &[(LogPosition, Bytes)]) {
        let Some(shared) = &self.shared else { return };
        for (position, entry) in entries {
            if lock(&shared.followed).begin(position) {
                self.follow_entry(shared, position, entry);
            }
        }
    }

    /// Entries of the log are lost: nobody is declared silent before it had
    /// time to be heard again.
    pub fn log_lost(&self) {
        let Some(shared) = &self.shared else { return };
        lock(&shared.followed).lose();
        self.link.close();
        self.watch_links(shared, self.parts.clock.instant());
    }

    /// Another node was found dead, or the lead has just come here: what it
    /// had not taken in yet comes by others, and nobody is declared silent
    /// until then.
    pub fn node_gone(&self, node: Option<&NodeId>) {
        let Some(shared) = &self.shared else { return };
        let now = self.parts.clock.instant();
        if let Some(node) = node {
            lock(&shared.followed).set_link(node.clone(), true, now);
        }
        let until = (now + HOLD).since_origin().as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        shared.hold_ms.fetch_max(until, Ordering::SeqCst);
    }

    /// Keeps the events of changes that are not known to be kept, if this node
    /// leads; returns how many.
    ///
    /// # Errors
    /// When the database does not answer; they are kept later.
    pub async fn keep(&self) -> Result<usize, PortError> {
        let Some(shared) = &self.shared else {
            return Ok(0);
        };
        let mut kept = 0;
        while let Some(fence) = shared.nodes.lease.held() {
            let changes = lock(&shared.followed).unkept(KEEP);
            let Some(last) = changes.last().map(|it| it.event.id) else {
                break;
            };
            let events: Vec<Event> = changes.iter().map(|it| it.event.clone()).collect();
            shared.nodes.store.append(&events).await?;
            kept += events.len();
            lock(&shared.followed).kept(last);
            let told = changes.into_iter().filter_map(|it| kept_record(it, fence));
            told.for_each(|record| shared.push(record));
        }
        Ok(kept)
    }

    /// Notes how far the log is kept, for nodes that start and for the next
    /// leader; nothing where this node does not lead.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_kept(&self) -> Result<(), PortError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let until = lock(&shared.followed).kept_until();
        match until {
            Some(position) => shared.nodes.lease.note(&position.0).await,
            None => Ok(()),
        }
    }

    /// Changes of presence dropped because nobody could keep them for too long.
    #[must_use]
    pub fn changes_dropped(&self) -> u64 {
        let shared = self.shared.as_ref();
        shared.map_or(0, |it| lock(&it.followed).dropped)
    }

    pub(super) fn set_cut_off(&self, shared: &Shared, cut_off: bool) {
        let now = self.parts.clock.instant();
        let changed = {
            let mut since = lock(&shared.cut_off);
            let changed = since.is_some() != cut_off;
            *since = cut_off.then(|| since.unwrap_or(now));
            changed
        };
        if changed {
            shared.push(Record::Link {
                node: shared.nodes.node.clone(),
                whole: !cut_off,
            });
        }
        self.watch_links(shared, now);
    }

    /// Whether this node may declare silences at `now`.
    pub(super) fn may_declare(&self, shared: &Shared, now: Instant) -> bool {
        self.watch_links(shared, now);
        self.leads() && now >= shared.hold_until()
    }

    /// Tells the log that a device has been silent for too long.
    pub(super) fn declare(&self, shared: &Shared, device: DeviceKey, slot: &Slot) {
        let Some(fence) = shared.nodes.lease.held() else {
            return;
        };
        shared.push(Record::Silent {
            device,
            at: self.parts.clock.now(),
            since: slot.logged().unwrap_or_default(),
            fence,
        });
    }

    /// Messages are on their way to the log only while this node hears the
    /// broker and the log, and no other node is known to be cut off.
    pub(super) fn watch_links(&self, shared: &Shared, now: Instant) {
        let whole = lock(&shared.cut_off).is_none()
            && shared.nodes.exchange.connected()
            && !lock(&shared.followed).waits_for_links(now);
        if whole {
            self.link.open(now);
        } else {
            self.link.close();
        }
    }
}

fn kept_record(change: Unkept, fence: Fence) -> Option<Record> {
    let (device, _) = change.event.device?;
    Some(Record::Kept {
        device,
        at: change.event.ts,
        state: change.presence.state,
        reason: change.presence.reason?,
        event: change.event.id,
        fence,
    })
}
