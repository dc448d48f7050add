//! What waits for one watcher.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{CommandId, DeviceId, EventId};

/// The most messages that wait for one watcher. One more empties the outbox:
/// the watcher gets a new snapshot instead of what it missed.
pub(super) const WAITING_MAX: usize = 16_384;

/// What a message is about: the newest one about the same thing wins, and who
/// watches it hears of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum About {
    /// What a device measured.
    Telemetry(DeviceId),
    /// What it reports of itself.
    Status(DeviceId),
    /// Whether it is there.
    Presence(DeviceId),
    /// Who it is, or that it is no more.
    Device(DeviceId),
    /// A command to a device.
    Command(CommandId, DeviceId),
    /// Something that happened, perhaps to a device.
    Event(EventId, Option<DeviceId>),
    /// The fleet as a whole.
    Totals,
}

/// What a watcher should send next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    /// These messages, oldest first; empty when nothing waits.
    Messages(Vec<Bytes>),
    /// A new snapshot: messages were lost since the last one.
    Gap,
}

/// A bounded queue in which a newer message takes the place of an older one
/// about the same thing.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(About, Bytes)>,
    /// Where in the sequence of all messages ever queued each subject waits.
    places: HashMap<About, u64>,
    /// The place of `waiting`'s first message in that sequence.
    first: u64,
    gap: bool,
}

impl Outbox {
    /// Queues `message`; returns whether the outbox was empty before.
    pub(super) fn push(&mut self, about: About, message: Bytes) -> bool {
        if self.gap {
            return false;
        }
        let was_empty = self.waiting.is_empty();
        let queued = self
            .places
            .get(&about)
            .and_then(|place| usize::try_from(place - self.first).ok())
            .and_then(|index| self.waiting.get_mut(index));
        if let Some((_, older)) = queued {
            *older = message;
        } else if self.waiting.len() < WAITING_MAX {
            let place = self.first + self.waiting.len() as u64;
            self.places.insert(about.clone(), place);
            self.waiting.push_back((about, message));
        } else {
            self.demand_snapshot();
        }
        was_empty
    }

    /// Takes at most `limit` messages, or the news that some were lost.
    pub(super) fn take(&mut self, limit: usize) -> Drained {
        match self.take_told(limit) {
            Some(told) => Drained::Messages(told.into_iter().map(|(_, message)| message).collect()),
            None => Drained::Gap,
        }
    }

    /// The same with what each message is about; `None` where some were lost.
    pub(super) fn take_told(&mut self, limit: usize) -> Option<Vec<(About, Bytes)>> {
        if std::mem::take(&mut self.gap) {
            return None;
        }
        let count = limit.min(self.waiting.len());
        let taken: Vec<_> = self.waiting.drain(..count).collect();
        for (about, _) in &taken {
            self.places.remove(about);
        }
        self.first += count as u64;
        Some(taken)
    }

    /// Forgets what waits: a snapshot is about to say it all.
    pub(super) fn demand_snapshot(&mut self) {
        self.clear();
        self.gap = true;
    }

    fn clear(&mut self) {
        self.first += self.waiting.len() as u64;
        self.waiting.clear();
        self.places.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(n: usize) -> About {
        About::Telemetry(DeviceId::parse(&format!("d{n}")).unwrap())
    }

    fn text(n: usize) -> Bytes {
        Bytes::from(n.to_string())
    }

    #[test]
    fn the_newest_message_about_a_device_takes_the_place_of_the_older() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(about(1), text(1)));
        assert!(!outbox.push(about(2), text(2)));
        outbox.push(about(1), text(3));
        assert_eq!(outbox.take(10), Drained::Messages(vec![text(3), text(2)]));
        assert_eq!(outbox.take(10), Drained::Messages(vec![]));
    }

    #[test]
    fn what_was_taken_is_no_longer_replaced() {
        let mut outbox = Outbox::default();
        for n in 0..4 {
            outbox.push(about(n), text(n));
        }
        assert_eq!(outbox.take(2), Drained::Messages(vec![text(0), text(1)]));
        outbox.push(about(0), text(10));
        outbox.push(about(3), text(13));
        assert_eq!(
            outbox.take(9),
            Drained::Messages(vec![text(2), text(13), text(10)])
        );
    }

    #[test]
    fn a_full_outbox_becomes_one_gap_and_starts_anew() {
        let mut outbox = Outbox::default();
        for n in 0..=WAITING_MAX {
            outbox.push(about(n), text(n));
        }
        outbox.push(about(1), text(1));
        assert!(!outbox.is_empty());
        assert_eq!(outbox.take(1), Drained::Gap);
        assert!(outbox.is_empty());
        outbox.push(about(1), text(2));
        assert_eq!(outbox.take(1), Drained::Messages(vec![text(2)]));
    }
}
