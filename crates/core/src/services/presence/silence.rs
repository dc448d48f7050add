//! Who has been silent for too long.

use std::time::Duration;

use super::PresenceTracker;
use super::shared::{SETTLE_SHARED, SILENT_AGAIN};
use super::slots::{Slot, State};
use crate::clock::Instant;
use crate::device::Device;
use crate::directory::reporting_period;
use crate::ids::DeviceKey;
use crate::presence::{PresenceState, Signal};

/// The least and the most that a silence is looked at again after its end.
const SETTLE_MIN: Duration = Duration::from_millis(50);
const SETTLE_MAX: Duration = Duration::from_millis(500);

impl PresenceTracker {
    /// When [`Self::run_due`] should run next; `None` while nobody is online,
    /// and among several nodes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.shared.is_some() {
            return None;
        }
        self.link.since().and_then(|_| self.deadlines.next())
    }

    /// Waits until [`Self::next_deadline`] has become earlier.
    pub async fn deadline_moved(&self) {
        self.deadlines.moved().await;
    }

    /// Declares offline who has been silent for too long; returns how many.
    /// Among several nodes, call it every tenth of a second.
    pub fn run_due(&self) -> usize {
        let now = self.parts.clock.instant();
        let mut declared = 0;
        if let Some(shared) = &self.shared
            && !self.may_declare(shared, now)
        {
            return 0;
        }
        let Some(open_since) = self.link.since() else {
            return 0;
        };
        while let Some((at, key)) = self.deadlines.pop_due(now) {
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
            let heard = slot.heard();
            let due = self.due(heard, &state, &device, open_since);
            if due > now {
                self.arm(key, &mut state, due);
            } else if state.suspect != Some(due) {
                state.suspect = Some(due);
                // The later we come, the longer others may have waited, too.
                let least = self.shared.as_ref().map_or(SETTLE_MIN, |_| SETTLE_SHARED);
                let settle = (now.since(at) * 2).clamp(least, SETTLE_MAX);
                self.arm(key, &mut state, now + settle);
            } else if let Some(shared) = &self.shared {
                self.declare(shared, key, &slot);
                self.arm(key, &mut state, now + SILENT_AGAIN);
                declared += 1;
            } else if slot.give_up(heard) {
                let step = state.machine.apply(Signal::Silence);
                self.carry_out(&slot, &mut state, &device, step, None);
                declared += 1;
            } else {
                self.arm(key, &mut state, now + SETTLE_MIN);
            }
        }
        declared
    }

    /// When the silence of an online device will have lasted too long, on a
    /// link that has been open since then.
    fn due(
        &self,
        heard: Option<Instant>,
        state: &State,
        device: &Device,
        open_since: Instant,
    ) -> Instant {
        let period = state.period.or_else(|| reporting_period(device));
        let rule = self.parts.offline_after;
        match heard {
            Some(heard) if heard >= open_since => heard + rule.of(period),
            Some(_) | None => open_since + rule.grace(period),
        }
    }

    /// Sees to it that the silence of an online device is noticed.
    pub(super) fn expect(&self, slot: &Slot, state: &mut State, device: &Device) {
        let open_since = self.link.since();
        let open_since = open_since.unwrap_or_else(|| self.parts.clock.instant());
        let due = self.due(slot.heard(), state, device, open_since);
        self.arm(device.key, state, due);
    }

    /// Sees to it that an entry fires at `at` or before.
    fn arm(&self, key: DeviceKey, state: &mut State, at: Instant) {
        if state.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        state.armed = Some(at);
        self.deadlines.push(at, key);
    }
}
