//! What waits to be written, within bounds.

use std::collections::VecDeque;

use dormouse_core::clock::Timestamp;
use dormouse_core::command::Command;
use dormouse_core::event::Event;
use dormouse_core::ids::{DeviceKey, DeviceKeyMap};
use dormouse_core::sample::Sample;

/// Samples that wait while Redis is away or slow (about 15 MB); beyond it the
/// oldest are dropped: history has them, and the ring is refilled from there.
const SAMPLES_MAX: usize = 200_000;
/// Commands that wait to be shown; beyond it the oldest are dropped.
pub(super) const SHOWS_MAX: usize = 10_000;
/// Events that wait to be shown; beyond it the oldest are dropped.
pub(super) const EVENTS_MAX: usize = 10_000;

/// A change to the ring and the latest readings of a device.
#[derive(Debug)]
pub(super) enum Put {
    Samples(DeviceKey, Box<[Sample]>),
    Forget(DeviceKey),
}

/// All that waits.
#[derive(Default)]
pub(super) struct Buffers {
    puts: VecDeque<Put>,
    samples: usize,
    pub(super) seen: DeviceKeyMap<Timestamp>,
    pub(super) shows: VecDeque<Command>,
    pub(super) events: VecDeque<Event>,
    /// How many rounds of writing have begun.
    pub(super) begun: u64,
    pub(super) writing: bool,
}

impl Put {
    fn samples(&self) -> usize {
        match self {
            Self::Samples(_, samples) => samples.len(),
            Self::Forget(_) => 0,
        }
    }
}

impl Buffers {
    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty()
            && self.seen.is_empty()
            && self.shows.is_empty()
            && self.events.is_empty()
    }

    pub(super) fn put(&mut self, put: Put) {
        self.samples += put.samples();
        self.puts.push_back(put);
        while self.samples > SAMPLES_MAX {
            let Some(oldest) = self.puts.pop_front() else {
                break;
            };
            self.samples -= oldest.samples();
        }
    }

    /// Takes all changes of rings.
    pub(super) fn take_puts(&mut self) -> VecDeque<Put> {
        self.samples = 0;
        std::mem::take(&mut self.puts)
    }

    /// Notes a sign of life; the newest counts.
    pub(super) fn seen(&mut self, device: DeviceKey, at: Timestamp) {
        let last = self.seen.entry(device).or_insert(at);
        *last = at.max(*last);
    }

    /// Puts back what was not written, in front of what came since.
    pub(super) fn put_back(&mut self, mut puts: VecDeque<Put>) {
        let newer = self.take_puts();
        puts.extend(newer);
        puts.into_iter().for_each(|put| self.put(put));
    }
}

/// Appends, in place of the oldest where there are as many already.
pub(super) fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Puts `older` in front, without the oldest where there are too many.
pub(super) fn put_back<T>(queue: &mut VecDeque<T>, mut older: VecDeque<T>, most: usize) {
    older.append(queue);
    *queue = older;
    let over = queue.len().saturating_sub(most);
    queue.drain(..over);
}

#[cfg(test)]
mod tests {
    use dormouse_core::ids::SocketId;
    use dormouse_core::sample::Values;

    use super::*;

    fn put(device: u32, samples: usize) -> Put {
        let sample = Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(0),
            values: Values::default(),
        };
        Put::Samples(DeviceKey(device), vec![sample; samples].into())
    }

    #[test]
    fn beyond_the_bound_the_oldest_go_also_when_they_are_put_back() {
        let mut buffers = Buffers::default();
        for device in 0..5 {
            buffers.put(put(device, SAMPLES_MAX / 4));
        }
        assert_eq!((buffers.puts.len(), buffers.samples), (4, SAMPLES_MAX));
        let taken = buffers.take_puts();
        buffers.put(put(9, SAMPLES_MAX / 4));
        buffers.put_back(taken);
        let devices: Vec<_> = buffers
            .puts
            .iter()
            .map(|put| match put {
                Put::Samples(device, _) | Put::Forget(device) => device.0,
            })
            .collect();
        assert_eq!(devices, [2, 3, 4, 9], "newest last");
        assert_eq!(buffers.samples, SAMPLES_MAX);
    }
}
