//! Who is there: fused from messages, wills, sessions and deadlines.
//!
//! A sign of life costs two atomic stores. Each device online has one entry
//! in a heap of deadlines; an entry that fires looks at when the device was
//! heard last and moves on, so that the heap is touched once per allowed
//! silence and not once per message. A silence that has lasted long enough is
//! looked at a second time a moment later: what had arrived before the
//! deadline, but waited in a busy process, counts.

mod slots;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use crate::clock::{Clock, Instant, Timestamp};
use crate::device::Device;
use crate::directory::{Directory, reporting_period};
use crate::event::{Event, EventType, Origin, Severity};
use crate::ids::{DeviceKey, EventId, uuid_v7};
use crate::presence::{
    Life, OfflineAfter, Presence, PresenceReason, PresenceState, SessionEnd, SessionNo, Signal,
    Step,
};
use crate::services::events::EventLog;
use crate::services::incidents::Incidents;
use slots::{Slot, Slots, State};

/// The least and the most that a silence is looked at again after its end.
const SETTLE_MIN: Duration = Duration::from_millis(50);
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// How far the way in has been worked through.
pub trait Intake: Send + Sync + 'static {
    /// Everything that reached the process before this moment has been
    /// handed to the services.
    fn caught_up_to(&self, now: Instant) -> Instant;
}

/// A way in that never waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverBehind;

impl Intake for NeverBehind {
    fn caught_up_to(&self, now: Instant) -> Instant {
        now
    }
}

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
    /// How far the way in has been worked through.
    pub intake: Arc<dyn Intake>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
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
    started_at: Instant,
    slots: Slots,
    deadlines: Mutex<BinaryHeap<Reverse<(Instant, DeviceKey)>>>,
    moved: Notify,
    online: AtomicUsize,
    offline: AtomicUsize,
}

impl PresenceTracker {
    /// A tracker that has heard of nobody; its grace begins now.
    #[must_use]
    pub fn new(parts: PresenceParts) -> Self {
        Self {
            started_at: parts.clock.instant(),
            parts,
            slots: Slots::default(),
            deadlines: Mutex::default(),
            moved: Notify::new(),
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
                let due = self.due(&slot, &held, &device);
                self.arm(key, &mut held, due);
            }
        }
    }

    /// A message other than a status arrived from `key`.
    pub fn seen(&self, key: DeviceKey, received_at: Timestamp) {
        let instant = self.parts.clock.instant();
        if self.slots.touch(key, instant, received_at) {
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
        self.signal(key, Some(received_at), |_, state| {
            state.period = period.or(state.period);
            Signal::Status(life)
        });
    }

    /// An offline status arrived from `key`, from the device itself or as its
    /// will (`by_broker`).
    pub fn will(&self, key: DeviceKey, life: Option<Life>, by_broker: bool) {
        let now = self.parts.clock.instant();
        self.signal(key, None, |slot, _| Signal::Goodbye {
            life,
            by_broker,
            quiet_for: slot.heard().map_or(Duration::MAX, |heard| now.since(heard)),
        });
    }

    /// The broker began a session of `key`.
    pub fn session_started(&self, key: DeviceKey, session: SessionNo) {
        self.signal(key, None, |_, _| Signal::SessionStarted(session));
    }

    /// A session of `key` ended. Everything received in it has been handed in before.
    pub fn session_ended(&self, key: DeviceKey, session: SessionNo, end: SessionEnd) {
        self.signal(key, None, |_, _| Signal::SessionEnded(session, end));
    }

    /// The settings of `key` changed: its allowed silence may have.
    pub fn device_changed(&self, key: DeviceKey) {
        if let Some((slot, device)) = self.slot(key) {
            let mut state = slot.lock();
            if state.machine.state() == PresenceState::Online {
                let due = self.due(&slot, &state, &device);
                self.arm(key, &mut state, due);
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

    /// When [`Self::run_due`] should run next; `None` while nobody is online.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap().peek().map(|Reverse((at, _))| *at)
    }

    /// Waits until [`Self::next_deadline`] has become earlier.
    pub async fn deadline_moved(&self) {
        self.moved.notified().await;
    }

    /// Declares offline who has been silent for too long; returns how many.
    pub fn run_due(&self) -> usize {
        let now = self.parts.clock.instant();
        let caught_up = self.parts.intake.caught_up_to(now);
        let mut declared = 0;
        while let Some((at, key)) = self.pop_due(now) {
            let Some((slot, device)) = self.slot(key) else {
                continue;
            };
            let mut state = slot.lock();
            // An entry that a nearer one took the place of, or of a device that is gone.
            if state.armed != Some(at) {
                continue;
            }
            state.armed = None;
            if state.machine.state() != PresenceState::Online {
                continue;
            }
            let due = self.due(&slot, &state, &device);
            if due > now {
                self.arm(key, &mut state, due);
            } else if state.suspect != Some(due) || caught_up < due {
                state.suspect = Some(due);
                // The later we come, the longer others may have waited, too.
                let settle = (now.since(at) * 2).clamp(SETTLE_MIN, SETTLE_MAX);
                self.arm(key, &mut state, now + settle);
            } else if slot.give_up(due - self.allowed(&state, &device)) {
                let step = state.machine.apply(Signal::Silence);
                self.carry_out(&slot, &mut state, &device, step);
                declared += 1;
            } else {
                self.arm(key, &mut state, now + SETTLE_MIN);
            }
        }
        declared
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
        self.carry_out(&slot, &mut state, &device, step);
        if state.machine.state() == PresenceState::Online {
            let due = self.due(&slot, &state, &device);
            self.arm(key, &mut state, due);
        }
    }

    /// Notes, counts, records and passes on a change, under the device's lock:
    /// changes of one device are told in their order.
    fn carry_out(&self, slot: &Slot, state: &mut State, device: &Device, step: Step) {
        let (kind, severity, reason) = match step {
            Step::Unchanged => return,
            Step::CameOnline(reason) => (EventType::DeviceOnline, Severity::Info, reason),
            Step::WentOffline(reason) => (EventType::DeviceOffline, Severity::Warning, reason),
        };
        let now = self.parts.clock.now();
        let before = std::mem::replace(&mut state.counted, state.machine.state());
        if before != PresenceState::Never {
            self.count(before).fetch_sub(1, Ordering::Relaxed);
        }
        self.count(state.counted).fetch_add(1, Ordering::Relaxed);
        state.since = Some(now);
        state.reason = Some(reason);
        slot.set_online(state.counted == PresenceState::Online);
        let presence = state.shown(slot);
        let event = change(device, kind, severity, presence, reason, now);
        self.parts.events.record_presence(event, presence);
        match presence.state {
            PresenceState::Online => self.parts.incidents.back(&device.id),
            PresenceState::Offline => self.parts.incidents.gone(device),
            PresenceState::Never => {}
        }
    }

    /// When the silence of an online device will have lasted too long.
    fn due(&self, slot: &Slot, state: &State, device: &Device) -> Instant {
        match slot.heard() {
            Some(heard) => heard + self.allowed(state, device),
            None => {
                let period = state.period.or_else(|| reporting_period(device));
                self.started_at + self.parts.offline_after.grace(period)
            }
        }
    }

    fn allowed(&self, state: &State, device: &Device) -> Duration {
        let period = state.period.or_else(|| reporting_period(device));
        self.parts.offline_after.of(period)
    }

    /// Sees to it that an entry fires at `at` or before.
    fn arm(&self, key: DeviceKey, state: &mut State, at: Instant) {
        if state.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        state.armed = Some(at);
        let mut heap = self.heap();
        let is_next = heap.peek().is_none_or(|Reverse((next, _))| at < *next);
        heap.push(Reverse((at, key)));
        drop(heap);
        if is_next {
            self.moved.notify_one();
        }
    }

    fn pop_due(&self, now: Instant) -> Option<(Instant, DeviceKey)> {
        let mut heap = self.heap();
        let is_due = heap.peek().is_some_and(|Reverse((at, _))| *at <= now);
        is_due.then(|| heap.pop().map(|Reverse(entry)| entry))?
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

    fn heap(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(Instant, DeviceKey)>>> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PresenceTracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresenceTracker")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

fn change(
    device: &Device,
    kind: EventType,
    severity: Severity,
    presence: Presence,
    reason: PresenceReason,
    now: Timestamp,
) -> Event {
    Event {
        id: EventId(uuid_v7(now)),
        device: Some((device.key, device.id.clone())),
        socket: None,
        kind,
        severity,
        ts: now,
        received_at: now,
        origin: Origin::Server,
        data: json!({
            "reason": reason,
            "source": reason.source(),
            "lastSeen": presence.last_seen.map(Timestamp::to_rfc3339),
        }),
    }
}

#[cfg(test)]
mod tests;
