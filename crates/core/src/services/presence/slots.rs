//! One device's place: what a message touches, and what a change locks.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::{Instant, Timestamp};
use crate::device::Device;
use crate::event::Event;
use crate::ids::{DeviceKey, DeviceKeyMap};
use crate::presence::{Life, Machine, Presence, PresenceReason, PresenceState};

/// "Not yet" in [`Slot::heard_ms`] and [`Slot::seen_ms`].
const NEVER_MS: u64 = u64::MAX;
const NEVER_SEEN_MS: i64 = i64::MIN;

/// Every device's place.
#[derive(Debug, Default)]
pub(super) struct Slots {
    by_key: RwLock<DeviceKeyMap<Arc<Slot>>>,
}

/// One device's place.
#[derive(Debug)]
pub(super) struct Slot {
    /// When it was heard last, on the monotonic clock.
    heard_ms: AtomicU64,
    /// The same on the wall clock.
    seen_ms: AtomicI64,
    /// The newest sign of life in the log that nodes share.
    logged_ms: AtomicI64,
    online: AtomicBool,
    state: Mutex<State>,
}

/// What only changes of presence touch.
#[derive(Debug)]
pub(super) struct State {
    pub(super) machine: Machine,
    pub(super) since: Option<Timestamp>,
    pub(super) reason: Option<PresenceReason>,
    /// The state that the totals hold for it.
    pub(super) counted: PresenceState,
    /// How often it said it means to report.
    pub(super) period: Option<Duration>,
    /// When its entry among the deadlines fires.
    pub(super) armed: Option<Instant>,
    /// The deadline that it was seen to have passed once already.
    pub(super) suspect: Option<Instant>,
}

impl Slots {
    /// Notes a sign of life; returns whether that is all there is to do.
    pub(super) fn touch(&self, key: DeviceKey, at: Instant, received_at: Timestamp) -> bool {
        let slots = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&key).is_some_and(|slot| {
            slot.hear(at, received_at);
            slot.is_online()
        })
    }

    /// Notes a sign of life from the log; returns whether that is all there
    /// is to do.
    pub(super) fn follow(&self, key: DeviceKey, now: Instant, at: Timestamp) -> bool {
        let slots = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&key).is_some_and(|slot| {
            slot.is_online() && {
                slot.follow(now, at);
                true
            }
        })
    }

    pub(super) fn get(&self, key: DeviceKey) -> Option<Arc<Slot>> {
        let slots = self.by_key.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&key).cloned()
    }

    pub(super) fn get_or_add(&self, key: DeviceKey) -> Arc<Slot> {
        self.get(key).unwrap_or_else(|| {
            let mut slots = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key).or_default())
        })
    }

    pub(super) fn remove(&self, key: DeviceKey) -> Option<Arc<Slot>> {
        let mut slots = self.by_key.write().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&key)
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            heard_ms: AtomicU64::new(NEVER_MS),
            seen_ms: AtomicI64::new(NEVER_SEEN_MS),
            logged_ms: AtomicI64::new(NEVER_SEEN_MS),
            online: AtomicBool::new(false),
            state: Mutex::new(State {
                machine: Machine::default(),
                since: None,
                reason: None,
                counted: PresenceState::Never,
                period: None,
                armed: None,
                suspect: None,
            }),
        }
    }
}

impl Slot {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sequentially consistent with [`Slot::give_up`]: a sign of life at the
    /// moment of the verdict is seen by one of the two.
    pub(super) fn hear(&self, at: Instant, received_at: Timestamp) {
        let ms = u64::try_from(at.since_origin().as_millis()).unwrap_or(NEVER_MS - 1);
        self.heard_ms.store(ms, Ordering::SeqCst);
        self.seen_ms
            .store(received_at.as_millis(), Ordering::Relaxed);
    }

    /// Notes a sign of life of `at` that the log tells of by `now`.
    pub(super) fn follow(&self, now: Instant, at: Timestamp) {
        let ms = u64::try_from(now.since_origin().as_millis()).unwrap_or(NEVER_MS - 1);
        self.heard_ms.store(ms, Ordering::SeqCst);
        self.seen(at);
        self.logged_ms.fetch_max(at.as_millis(), Ordering::SeqCst);
    }

    /// Notes when it was seen, unless it was seen later.
    pub(super) fn seen(&self, at: Timestamp) {
        self.seen_ms.fetch_max(at.as_millis(), Ordering::Relaxed);
    }

    /// The newest sign of life in the log.
    pub(super) fn logged(&self) -> Option<Timestamp> {
        let ms = self.logged_ms.load(Ordering::SeqCst);
        (ms != NEVER_SEEN_MS).then(|| Timestamp::from_millis(ms))
    }

    pub(super) fn heard(&self) -> Option<Instant> {
        let ms = self.heard_ms.load(Ordering::SeqCst);
        (ms != NEVER_MS).then(|| Instant::from_origin(Duration::from_millis(ms)))
    }

    pub(super) fn is_online(&self) -> bool {
        self.online.load(Ordering::SeqCst)
    }

    pub(super) fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::SeqCst);
    }

    /// Closes the fast path, unless the device was heard after `heard`.
    pub(super) fn give_up(&self, heard: Option<Instant>) -> bool {
        self.set_online(false);
        let silent = self.heard() == heard;
        self.set_online(!silent);
        silent
    }

    pub(super) fn restore(&self, state: PresenceState, event: &Event, device: &Device) {
        let told = event.data.get("lastSeen").and_then(|text| text.as_str());
        let told = told.and_then(|text| Timestamp::parse_rfc3339(text).ok());
        let reported = device.reported.as_ref().map(|reported| reported.at);
        if let Some(seen) = told.max(reported) {
            self.seen_ms.store(seen.as_millis(), Ordering::Relaxed);
        }
        self.set_online(state == PresenceState::Online);
    }
}

impl State {
    pub(super) fn restore(&mut self, state: PresenceState, event: &Event, device: &Device) {
        let reported = device.reported.as_ref();
        let life = reported.and_then(|reported| {
            let (boot, conn) = reported.boot.zip(reported.conn)?;
            Some(Life { boot, conn })
        });
        let reason = event.data.get("reason").and_then(|text| text.as_str());
        self.machine = Machine::restored(state, life);
        self.counted = state;
        self.since = Some(event.ts);
        self.reason = reason.and_then(PresenceReason::from_name);
    }

    pub(super) fn shown(&self, slot: &Slot) -> Presence {
        let seen_ms = slot.seen_ms.load(Ordering::Relaxed);
        Presence {
            state: self.machine.state(),
            since: self.since,
            reason: self.reason,
            source: self.reason.map(PresenceReason::source),
            last_seen: (seen_ms != NEVER_SEEN_MS).then(|| Timestamp::from_millis(seen_ms)),
        }
    }
}
