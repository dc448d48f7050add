//! Who is there: fused from messages, wills, sessions and deadlines.
//!
//! A sign of life costs two atomic stores. Each device online has one entry
//! in a heap of deadlines; an entry that fires looks at when the device was
//! heard last and moves on, so that the heap is touched once per allowed
//! silence and not once per message. A silence that has lasted long enough is
//! looked at a second time a moment later: what had arrived before the
//! deadline, but waited in a busy process, counts.

mod change;
mod deadlines;
mod follow;
mod followed;
mod link;
mod outgoing;
pub mod record;
mod shared;
mod silence;
mod slots;

pub use shared::{PresenceNodes, TELL_EVERY};

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::device::Device;
use crate::directory::Directory;
use crate::event::{Event, EventType};
use crate::ids::{DeviceKey, EventId, uuid_v7};
use crate::presence::{
    Life, OfflineAfter, Presence, PresenceReason, PresenceState, SessionEnd, SessionNo, Signal,
    Step,
};
use crate::services::events::EventLog;
use crate::services::incidents::Incidents;
use change::change;
use deadlines::Deadlines;
use followed::Place;
use link::Link;
use record::News;
use shared::Shared;
use slots::{Slot, Slots, State};

/// What the tracker works with.
#[derive(Clone)]
pub struct PresenceParts {
    /// How long a silence makes a device offline.
    pub offline_after: OfflineAfter,
    /// Who the devices are.
    pub directory: Arc<dyn Directory>,
    /// Where changes are recorded.
    pub events: Arc<EventLog>,
    /// Who looks for devices that go together.
    pub incidents: Arc<Incidents>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// What it shares with other nodes; `None` where there is but one.
    pub nodes: Option<PresenceNodes>,
}

impl std::fmt::Debug for PresenceParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresenceParts")
            .field("offline_after", &self.offline_after)
            .finish_non_exhaustive()
    }
}

/// How many devices are in which state; the others were never heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PresenceCounts {
    /// There.
    pub online: usize,
    /// Gone.
    pub offline: usize,
}

/// Keeps every device's presence.
pub struct PresenceTracker {
    parts: PresenceParts,
    shared: Option<Shared>,
    link: Link,
    slots: Slots,
    deadlines: Deadlines,
    online: AtomicUsize,
    offline: AtomicUsize,
}

impl PresenceTracker {
    /// A tracker that has heard of nobody; its grace begins now.
    #[must_use]
    pub fn new(parts: PresenceParts) -> Self {
        Self {
            link: Link::open_since(parts.clock.instant()),
            shared: parts.nodes.clone().map(Shared::new),
            parts,
            slots: Slots::default(),
            deadlines: Deadlines::default(),
            online: AtomicUsize::new(0),
            offline: AtomicUsize::new(0),
        }
    }

    /// Takes up what was known when the process ended: `last` holds each
    /// device's last change of presence. Who was online stays so for the
    /// grace of max(`offlineAfter`, 30 s), until it is heard again.
    pub fn restore(&self, last: &[Event]) {
        for event in last {
            let known = match (&event.device, &event.kind) {
                (Some((key, _)), EventType::DeviceOnline) => Some((*key, PresenceState::Online)),
                (Some((key, _)), EventType::DeviceOffline) => Some((*key, PresenceState::Offline)),
                _ => None,
            };
            let Some((key, state)) = known else { continue };
            let Some((slot, device)) = self.slot(key) else {
                continue;
            };
            let mut held = slot.lock();
            if held.machine.state() != PresenceState::Never {
                continue;
            }
            held.restore(state, event, &device);
            slot.restore(state, event, &device);
            self.count(state).fetch_add(1, Ordering::Relaxed);
            if state == PresenceState::Online {
                self.expect(&slot, &mut held, &device);
            }
        }
    }

    /// A message other than a status arrived from `key`.
    pub fn seen(&self, key: DeviceKey, received_at: Timestamp) {
        let instant = self.parts.clock.instant();
        let is_online = self.slots.touch(key, instant, received_at);
        if let Some(shared) = &self.shared {
            return shared.seen(key, received_at, is_online);
        }
        if is_online {
            return;
        }
        self.signal(key, Some(received_at), |_, _| Signal::Heard);
    }

    /// An online status arrived from `key`: it is a sign of life, its counts
    /// are the current ones, and `period` is how often it means to report.
    pub fn status(
        &self,
        key: DeviceKey,
        life: Option<Life>,
        period: Option<Duration>,
        received_at: Timestamp,
    ) {
        if let Some(shared) = &self.shared {
            return shared.news(key, received_at, News::Status { life, period });
        }
        self.signal(key, Some(received_at), |_, state| {
            state.period = period.or(state.period);
            Signal::Status(life)
        });
    }

    /// An offline status arrived from `key`, from the device itself or as its
    /// will (`by_broker`).
    pub fn will(&self, key: DeviceKey, life: Option<Life>, by_broker: bool) {
        if let Some(shared) = &self.shared {
            let at = self.parts.clock.now();
            return shared.news(key, at, News::Goodbye { life, by_broker });
        }
        let now = self.parts.clock.instant();
        self.signal(key, None, |slot, _| Signal::Goodbye {
            life,
            by_broker,
            quiet_for: slot.heard().map_or(Duration::MAX, |heard| now.since(heard)),
        });
    }

    /// The broker began a session of `key`.
    pub fn session_started(&self, key: DeviceKey, session: SessionNo) {
        if let Some(shared) = &self.shared {
            let at = self.parts.clock.now();
            return shared.news(key, at, News::SessionStarted(session));
        }
        self.signal(key, None, |_, _| Signal::SessionStarted(session));
    }

    /// A session of `key` ended. Everything received in it has been handed in before.
    pub fn session_ended(&self, key: DeviceKey, session: SessionNo, end: SessionEnd) {
        if let Some(shared) = &self.shared {
            let at = self.parts.clock.now();
            return shared.news(key, at, News::SessionEnded(session, end));
        }
        self.signal(key, None, |_, _| Signal::SessionEnded(session, end));
    }

    /// The settings of `key` changed: its allowed silence may have.
    pub fn device_changed(&self, key: DeviceKey) {
        if let Some(shared) = &self.shared {
            self.hear_told(shared, key);
        }
        if let Some((slot, device)) = self.slot(key) {
            let mut state = slot.lock();
            if state.machine.state() == PresenceState::Online {
                self.expect(&slot, &mut state, &device);
            }
        }
    }

    /// The device with `key` was deleted: it is counted no more.
    pub fn forget(&self, key: DeviceKey) {
        if let Some(slot) = self.slots.remove(key) {
            let state = slot.lock().machine.state();
            if state != PresenceState::Never {
                self.count(state).fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// The presence of the device with `key`.
    #[must_use]
    pub fn get(&self, key: DeviceKey) -> Presence {
        self.slots
            .get(key)
            .map_or(Presence::NEVER, |slot| slot.lock().shown(&slot))
    }

    /// Whether the device with `key` is there.
    #[must_use]
    pub fn is_online(&self, key: DeviceKey) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.is_online())
    }

    /// How many devices are in which state.
    #[must_use]
    pub fn counts(&self) -> PresenceCounts {
        PresenceCounts {
            online: self.online.load(Ordering::Relaxed),
            offline: self.offline.load(Ordering::Relaxed),
        }
    }

    /// Messages cannot come in, or not be acknowledged: nobody is declared
    /// silent until [`Self::link_restored`].
    pub fn link_lost(&self) {
        match &self.shared {
            Some(shared) => self.set_cut_off(shared, true),
            None => self.link.close(),
        }
    }

    /// Messages come in again; a grace begins for those not heard since.
    pub fn link_restored(&self) {
        match &self.shared {
            Some(shared) => self.set_cut_off(shared, false),
            None if self.link.open(self.parts.clock.instant()) => self.deadlines.wake(),
            None => {}
        }
    }

    fn signal(
        &self,
        key: DeviceKey,
        heard_at: Option<Timestamp>,
        signal: impl FnOnce(&Slot, &mut State) -> Signal,
    ) {
        let Some((slot, device)) = self.slot(key) else {
            return;
        };
        let mut state = slot.lock();
        let signal = signal(&slot, &mut state);
        if let Some(received_at) = heard_at {
            slot.hear(self.parts.clock.instant(), received_at);
        }
        let step = state.machine.apply(signal);
        self.carry_out(&slot, &mut state, &device, step, None);
        if state.machine.state() == PresenceState::Online {
            self.expect(&slot, &mut state, &device);
        }
    }

    /// Notes, counts, records and passes on a change, under the device's lock:
    /// changes of one device are told in their order. `told` is where in the
    /// log it stood and when it was heard, among several nodes.
    fn carry_out(
        &self,
        slot: &Slot,
        state: &mut State,
        device: &Device,
        step: Step,
        told: Option<(&Place, Timestamp)>,
    ) {
        let reason = match step {
            Step::Unchanged => return,
            Step::CameOnline(reason) | Step::WentOffline(reason) => reason,
        };
        let now = told.map_or_else(|| self.parts.clock.now(), |(_, at)| at);
        let presence = self.set(slot, state, now, reason);
        match (told, &self.shared) {
            (Some((place, at)), Some(shared)) => {
                let id = place.event_id(device.key, presence.state, at);
                let event = change(device, presence, now, id);
                self.parts.events.announce_presence(&event, presence);
                shared.keep(event, presence);
            }
            (Some(_) | None, _) => {
                let event = change(device, presence, now, EventId(uuid_v7(now)));
                self.parts.events.record_presence(event, presence);
            }
        }
        match presence.state {
            PresenceState::Online => self.parts.incidents.back(&device.id),
            PresenceState::Offline => self.parts.incidents.gone(device),
            PresenceState::Never => {}
        }
    }

    /// Notes and counts what the machine came to.
    fn set(
        &self,
        slot: &Slot,
        state: &mut State,
        at: Timestamp,
        reason: PresenceReason,
    ) -> Presence {
        let before = std::mem::replace(&mut state.counted, state.machine.state());
        if before != PresenceState::Never {
            self.count(before).fetch_sub(1, Ordering::Relaxed);
        }
        self.count(state.counted).fetch_add(1, Ordering::Relaxed);
        state.since = Some(at);
        state.reason = Some(reason);
        slot.set_online(state.counted == PresenceState::Online);
        state.shown(slot)
    }

    fn slot(&self, key: DeviceKey) -> Option<(Arc<Slot>, Arc<Device>)> {
        let device = self.parts.directory.by_key(key)?;
        Some((self.slots.get_or_add(key), device))
    }

    fn count(&self, state: PresenceState) -> &AtomicUsize {
        match state {
            PresenceState::Online => &self.online,
            PresenceState::Offline | PresenceState::Never => &self.offline,
        }
    }
}

impl std::fmt::Debug for PresenceTracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresenceTracker")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod nodes_tests;
#[cfg(test)]
mod tests;
