//! Following the log: what each record makes of its device.

use std::time::Duration;

use super::PresenceTracker;
use super::change::change;
use super::followed::{Place, Told};
use super::record::{News, Record, decode};
use super::shared::Shared;
use super::slots::{Slot, State};
use crate::clock::Timestamp;
use crate::ids::{DeviceKey, EventId};
use crate::memory::lock;
use crate::ports::nodes::LogPosition;
use crate::presence::{PresenceReason, PresenceState, Signal};

impl PresenceTracker {
    pub(super) fn follow_entry(&self, shared: &Shared, position: &LogPosition, entry: &[u8]) {
        for (record, it) in decode(entry) {
            let place = Place {
                entry: position.clone(),
                record,
            };
            self.follow_record(shared, &place, it);
        }
        lock(&shared.followed).end(position.clone());
    }

    fn follow_record(&self, shared: &Shared, place: &Place, record: Record) {
        match record {
            Record::Alive(signs) => {
                let now = self.parts.clock.instant();
                for (key, at) in signs {
                    if !self.slots.follow(key, now, at) {
                        self.told(shared, key, (place.clone(), at, Told::Alive));
                    }
                }
            }
            Record::Heard { device, at, news } => {
                let told = (place.clone(), at, Told::News(news));
                self.told(shared, device, told);
            }
            Record::Silent {
                device,
                at,
                since,
                fence,
            } => {
                let is_lead = lock(&shared.followed).is_lead(fence);
                if is_lead {
                    self.silent(device, (place, at), since);
                }
            }
            Record::Kept {
                device,
                at,
                state,
                reason,
                event,
                fence,
            } => {
                let is_lead = lock(&shared.followed).is_lead(fence);
                if is_lead {
                    self.adopt(device, at, (state, reason), event);
                    lock(&shared.followed).kept(event);
                }
            }
            Record::Link { node, whole } => {
                let now = self.parts.clock.instant();
                if node != shared.nodes.node {
                    lock(&shared.followed).set_link(node, whole, now);
                }
                self.watch_links(shared, now);
            }
        }
    }

    /// Hears what was told of a device before it was known here.
    pub(super) fn hear_told(&self, shared: &Shared, key: DeviceKey) {
        if self.parts.directory.by_key(key).is_some() {
            let told = lock(&shared.followed).no_longer_strange(key);
            for told in told {
                self.told(shared, key, told);
            }
        }
    }

    fn told(&self, shared: &Shared, key: DeviceKey, told: (Place, Timestamp, Told)) {
        let Some((slot, device)) = self.slot(key) else {
            lock(&shared.followed).strange(key, told);
            return;
        };
        let (place, at, what) = told;
        let mut state = slot.lock();
        if matches!(what, Told::Alive | Told::News(News::Status { .. })) {
            slot.follow(self.parts.clock.instant(), at);
        }
        if is_past(&state, at, what) {
            return;
        }
        let signal = signal(&slot, &mut state, at, what);
        let step = state.machine.apply(signal);
        self.carry_out(&slot, &mut state, &device, step, Some((&place, at)));
        if state.machine.state() == PresenceState::Online {
            self.expect(&slot, &mut state, &device);
        }
    }

    /// Comes to what the leader has kept, where this node came to something
    /// else before: it may not have read all that the leader has.
    fn adopt(
        &self,
        key: DeviceKey,
        at: Timestamp,
        (to, reason): (PresenceState, PresenceReason),
        event: EventId,
    ) {
        let Some((slot, device)) = self.slot(key) else {
            return;
        };
        let mut state = slot.lock();
        let is_older = state.since.is_some_and(|since| at <= since);
        if is_older || state.machine.state() == to {
            return;
        }
        state.machine.adopt(to);
        let presence = self.set(&slot, &mut state, at, reason);
        let event = change(&device, presence, at, event);
        self.parts.events.announce_presence(&event, presence);
        if to == PresenceState::Online {
            self.expect(&slot, &mut state, &device);
        }
    }

    fn silent(&self, key: DeviceKey, (place, at): (&Place, Timestamp), since: Timestamp) {
        let Some((slot, device)) = self.slot(key) else {
            return;
        };
        let mut state = slot.lock();
        let heard_after = slot.logged().is_some_and(|logged| logged > since);
        if heard_after || state.since.is_some_and(|since| at <= since) {
            return;
        }
        let step = state.machine.apply(Signal::Silence);
        self.carry_out(&slot, &mut state, &device, step, Some((place, at)));
    }
}

/// Whether what was told at `at` came before the device's last change, and so
/// says nothing about its present: nodes hear different things at different
/// times, and one that starts reads anew what it knows already.
fn is_past(state: &State, at: Timestamp, told: Told) -> bool {
    let is_older = state.since.is_some_and(|since| at <= since);
    match told {
        Told::News(News::Status { life, .. }) if life.is_some() => {
            is_older && state.machine.life() == life
        }
        Told::News(News::SessionStarted(_)) => false,
        Told::Alive | Told::News(_) => is_older,
    }
}

fn signal(slot: &Slot, state: &mut State, at: Timestamp, told: Told) -> Signal {
    match told {
        Told::Alive => Signal::Heard,
        Told::News(News::Status { life, period }) => {
            state.period = period.or(state.period);
            Signal::Status(life)
        }
        Told::News(News::Goodbye { life, by_broker }) => Signal::Goodbye {
            life,
            by_broker,
            quiet_for: slot
                .logged()
                .map_or(Duration::MAX, |logged| at.since(logged)),
        },
        Told::News(News::SessionStarted(session)) => Signal::SessionStarted(session),
        Told::News(News::SessionEnded(session, end)) => Signal::SessionEnded(session, end),
    }
}
