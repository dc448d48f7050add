//! Recognises repeats among the last 256 messages of a device.

use crate::decode::Sequence;
use crate::varint::{Reader, put};

/// How many messages back a repeat is recognised.
const WIDTH: u32 = 256;

/// The places seen of late. Two laps are kept, since a start of the device
/// (or a counter that began again) opens a new one while messages of the old
/// one may still be on their way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    current: Option<Lap>,
    previous: Option<Lap>,
}

/// A run of rising sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lap {
    boot: u32,
    highest: u32,
    /// Messages marked, up to [`WIDTH`]; by then the lap before is out of reach.
    marks: u32,
    /// Bit n: `highest - n` was seen.
    seen: [u64; 4],
}

impl Window {
    /// Whether `place` was marked within reach.
    pub(super) fn contains(&self, place: Sequence) -> bool {
        let laps = self.current.iter().chain(&self.previous);
        laps.filter(|lap| lap.boot == place.boot)
            .any(|lap| lap.contains(place.seq))
    }

    /// Marks `place` as seen.
    pub(super) fn mark(&mut self, place: Sequence) {
        let laps = self.current.iter_mut().chain(&mut self.previous);
        for lap in laps {
            if lap.boot == place.boot && lap.mark(place.seq) {
                break;
            }
        }
        if !self.contains(place) {
            self.previous = self.current.replace(Lap::starting(place));
        }
        if self.current.as_ref().is_some_and(|lap| lap.marks >= WIDTH) {
            self.previous = None;
        }
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for lap in [&self.current, &self.previous] {
            let Some(lap) = lap else {
                out.push(0);
                continue;
            };
            out.push(1);
            put(out, lap.boot.into());
            put(out, lap.highest.into());
            put(out, lap.marks.into());
            for word in lap.seen {
                put(out, word);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            current: Lap::read(reader)?,
            previous: Lap::read(reader)?,
        })
    }
}

impl Lap {
    const fn starting(place: Sequence) -> Self {
        Self {
            boot: place.boot,
            highest: place.seq,
            marks: 1,
            seen: [1, 0, 0, 0],
        }
    }

    fn contains(&self, seq: u32) -> bool {
        match self.highest.checked_sub(seq) {
            Some(back) if back < WIDTH => self.seen[(back / 64) as usize] & (1 << (back % 64)) != 0,
            _ => false,
        }
    }

    /// Marks `seq` unless it lies too far back for this lap.
    fn mark(&mut self, seq: u32) -> bool {
        if let Some(ahead) = seq.checked_sub(self.highest) {
            self.shift(ahead);
            self.highest = seq;
            self.seen[0] |= 1;
        } else {
            let back = self.highest - seq;
            if back >= WIDTH {
                return false;
            }
            self.seen[(back / 64) as usize] |= 1 << (back % 64);
        }
        self.marks = (self.marks + 1).min(WIDTH);
        true
    }

    fn shift(&mut self, by: u32) {
        let (words, bits) = ((by / 64) as usize, by % 64);
        let old = self.seen;
        for (index, word) in self.seen.iter_mut().enumerate() {
            let at = |n: usize| index.checked_sub(n).map_or(0, |from| old[from]);
            let carried = if bits == 0 {
                0
            } else {
                at(words + 1) >> (64 - bits)
            };
            *word = at(words) << bits | carried;
        }
    }

    #[expect(
        clippy::option_option,
        reason = "the outer one is the end of the bytes, the inner one an empty lap"
    )]
    fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        if reader.byte()? == 0 {
            return Some(None);
        }
        let mut lap = Self {
            boot: reader.u32()?,
            highest: reader.u32()?,
            marks: reader.u32()?,
            seen: [0; 4],
        };
        for word in &mut lap.seen {
            *word = reader.unsigned()?;
        }
        Some(Some(lap))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn at(boot: u32, seq: u32) -> Sequence {
        Sequence { boot, seq }
    }

    #[test]
    fn a_repeat_is_recognised_across_gaps_and_a_restart() {
        let mut window = Window::default();
        for seq in [1, 2, 5, 300, 301] {
            assert!(!window.contains(at(7, seq)), "{seq}");
            window.mark(at(7, seq));
        }
        assert!(window.contains(at(7, 300)));
        assert!(
            !window.contains(at(7, 299)),
            "skipped, so it may still come"
        );
        window.mark(at(8, 1));
        assert!(window.contains(at(7, 301)), "late from before the restart");
        assert!(!window.contains(at(7, 302)));
    }

    #[test]
    fn a_counter_that_began_again_is_not_held_up_by_its_former_self() {
        let mut window = Window::default();
        for seq in 1..=1000 {
            window.mark(at(1, seq));
        }
        for seq in 1..=1000 {
            assert!(!window.contains(at(1, seq)), "{seq}");
            window.mark(at(1, seq));
        }
    }

    proptest! {
        #[test]
        fn a_device_that_counts_is_never_misjudged(
            steps in prop::collection::vec((0_u32..40, any::<bool>()), 1..800)
        ) {
            // Messages in order with gaps, each sometimes sent again later.
            let mut window = Window::default();
            let mut sent = VecDeque::new();
            let mut place = at(1, 0);
            for (step, restart) in steps {
                if restart && step == 0 {
                    place = at(place.boot + 1, 0);
                } else {
                    place.seq += 1 + step / 10;
                }
                prop_assert!(!window.contains(place));
                window.mark(place);
                sent.push_back(place);
                let again = sent[sent.len().saturating_sub(1 + step as usize)];
                if again.boot + 1 >= place.boot && place.seq < again.seq + 200 {
                    prop_assert!(window.contains(again), "{again:?} after {place:?}");
                }
            }
            let mut bytes = Vec::new();
            window.put(&mut bytes);
            prop_assert_eq!(Window::read(&mut Reader::new(&bytes)), Some(window));
        }
    }
}
