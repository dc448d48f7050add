//! Finds out which messages of a batch the store refuses: halves of it are
//! tried until single ones are left.
//!
//! Devices do not depend on each other, messages of one device do: what is
//! tried of a device is tried behind those of its messages that passed.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use crate::ids::DeviceKey;

/// Messages of one device that are refused in a row; then the rest of what the
/// batch has of it is refused untried, as its device is what is wrong.
pub(super) const IN_A_ROW_MAX: usize = 8;
/// Devices refused before anything passed; then it is the store that is wrong.
/// They are drawn from the batch.
pub(super) const DEVICES_MAX: usize = 4;

/// Which messages of a batch the store refuses, as far as that is known.
#[derive(Debug)]
pub(super) struct Sieve {
    /// The batch's messages, device by device; those of suspects come first.
    places: Vec<Place>,
    /// Where those of the others begin.
    others: usize,
    /// Whether the others were not looked at, since only the suspects may be bad.
    others_are_trusted: bool,
    /// What is not judged yet, in order; the last comes first.
    open: Vec<Range<usize>>,
    /// Why each of those was refused, by place.
    refused: BTreeMap<usize, String>,
    has_passed: bool,
    /// Single messages refused since anything passed or another device's turn.
    in_a_row: Option<(DeviceKey, usize)>,
}

/// A message.
#[derive(Debug, Clone, Copy)]
struct Place {
    device: DeviceKey,
    /// In the batch.
    index: usize,
}

impl Sieve {
    /// Over the messages of a batch, by their devices, of which some are
    /// suspected: if there are none of those in it, all may be bad.
    pub(super) fn new(
        devices: impl Iterator<Item = DeviceKey>,
        is_suspect: impl Fn(DeviceKey) -> bool,
    ) -> Self {
        let of = |(index, device)| Place { device, index };
        let mut places: Vec<_> = devices.enumerate().map(of).collect();
        // An order without meaning, so that a few bad devices with
        // neighbouring keys do not look like a bad store.
        let draw: u64 = rand::random();
        let drawn = |it: DeviceKey| (u64::from(it.0) ^ draw).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        places.sort_by_key(|it| {
            let suspect = is_suspect(it.device);
            (!suspect, drawn(it.device), it.device, it.index)
        });
        let others = places.partition_point(|it| is_suspect(it.device));
        let first = if others == 0 {
            0..places.len()
        } else {
            0..others
        };
        Self {
            others_are_trusted: others > 0 && others < places.len(),
            open: vec![first],
            refused: BTreeMap::new(),
            has_passed: false,
            in_a_row: None,
            others,
            places,
        }
    }

    /// The messages to try next, as they stand in the batch; `None` once all
    /// are judged.
    pub(super) fn next(&self) -> Option<Vec<usize>> {
        let range = self.open.last()?.clone();
        let device = self.places.get(range.start)?.device;
        let before = self.places[..range.start].iter().enumerate().rev();
        let before = before.take_while(|(_, it)| it.device == device);
        let passed = before.filter(|(place, _)| !self.refused.contains_key(place));
        let mut tried: Vec<_> = passed.map(|(_, it)| it.index).collect();
        tried.extend(self.places[range].iter().map(|it| it.index));
        tried.sort_unstable();
        Some(tried)
    }

    /// The store takes what was tried last.
    pub(super) fn note_passed(&mut self) {
        self.open.pop();
        self.has_passed = true;
        self.in_a_row = None;
    }

    /// The store refuses it.
    pub(super) fn note_refused(&mut self, why: &str) {
        let Some(range) = self.open.pop() else {
            return;
        };
        if range.len() > 1 {
            let middle = range.start.midpoint(range.end);
            self.open.push(middle..range.end);
            self.open.push(range.start..middle);
            return;
        }
        self.refused.insert(range.start, why.to_owned());
        let device = self.places[range.start].device;
        let before = self.in_a_row.filter(|(of, _)| *of == device);
        let count = before.map_or(1, |(_, count)| count + 1);
        self.in_a_row = Some((device, count));
        if count >= IN_A_ROW_MAX {
            self.refuse_rest(device, why);
        }
    }

    fn refuse_rest(&mut self, device: DeviceKey, why: &str) {
        while let Some(range) = self.open.last_mut() {
            let start = range.start;
            if start == range.end {
                self.open.pop();
            } else if self.places[start].device == device {
                range.start += 1;
                self.refused
                    .insert(start, format!("not tried after: {why}"));
            } else {
                return;
            }
        }
    }

    /// Whether so much of it is refused that something else must be wrong.
    pub(super) fn is_hopeless(&self) -> bool {
        let of_others = self.refused.range(self.others..);
        let devices: HashSet<_> = of_others.map(|(at, _)| self.places[*at].device).collect();
        !self.has_passed && devices.len() >= DEVICES_MAX
    }

    /// The batch without what is refused was refused all the same: looks at
    /// those that were trusted, if any were.
    pub(super) fn distrust(&mut self) -> bool {
        if !std::mem::take(&mut self.others_are_trusted) {
            return false;
        }
        self.has_passed = false;
        self.open.push(self.others..self.places.len());
        true
    }

    /// What is refused, as it stands in the batch, and why.
    pub(super) fn found(&self) -> BTreeMap<usize, &str> {
        let found = self.refused.iter();
        found
            .map(|(place, why)| (self.places[*place].index, why.as_str()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sifts to the end; returns how many tries it took.
    fn sift(sieve: &mut Sieve, takes: impl Fn(&[usize]) -> bool) -> usize {
        let mut tries = 0;
        while let Some(tried) = sieve.next() {
            tries += 1;
            if takes(&tried) {
                sieve.note_passed();
            } else {
                sieve.note_refused("bad");
            }
        }
        tries
    }

    fn of_devices(devices: impl Iterator<Item = u32>) -> Sieve {
        Sieve::new(devices.map(DeviceKey), |_| false)
    }

    fn found(sieve: &Sieve) -> Vec<usize> {
        sieve.found().into_keys().collect()
    }

    proptest! {
        #[test]
        fn what_is_bad_is_found_and_nothing_else(
            messages in prop::collection::vec((0_u32..4, prop::bool::weighted(0.5)), 1..90)
        ) {
            let mut sieve = of_devices(messages.iter().map(|it| it.0));
            sift(&mut sieve, |tried| tried.iter().all(|index| !messages[*index].1));
            let mut rows = std::collections::HashMap::<u32, usize>::new();
            let expected = messages.iter().enumerate().filter(|(_, (device, is_bad))| {
                let row = rows.entry(*device).or_default();
                let given_up = *row >= IN_A_ROW_MAX;
                *row = if *is_bad || given_up { *row + 1 } else { 0 };
                *is_bad || given_up
            });
            let expected: Vec<_> = expected.map(|it| it.0).collect();
            prop_assert_eq!(found(&sieve), expected);
        }

        #[test]
        fn what_is_bad_behind_another_alone_is_found(
            messages in prop::collection::vec(0_u32..3, 2..40),
            pair: (prop::sample::Index, prop::sample::Index),
        ) {
            let of_first = |it: &usize| messages[*it] == messages[0];
            let all: Vec<_> = (0..messages.len()).filter(of_first).collect();
            let (a, b) = (*pair.0.get(&all), *pair.1.get(&all));
            let mut sieve = of_devices(messages.iter().copied());
            sift(&mut sieve, |tried| !(tried.contains(&a) && tried.contains(&b)));
            prop_assert_eq!(found(&sieve), [a.max(b)]);
        }
    }

    #[test]
    fn one_of_thousands_is_found_in_a_few_tries() {
        let mut sieve = of_devices(0..4_096);
        let tries = sift(&mut sieve, |tried| !tried.contains(&1_234));
        assert_eq!(found(&sieve), [1_234]);
        assert_eq!(tries, 25, "all, and two halves of each size");
    }

    #[test]
    fn a_device_of_which_everything_is_bad_is_not_tried_to_the_end() {
        let mut sieve = of_devices((0..6_000).map(|n| n % 3));
        let tries = sift(&mut sieve, |tried| tried.iter().all(|index| index % 3 != 1));
        let expected: Vec<_> = (0..6_000).filter(|index| index % 3 == 1).collect();
        assert_eq!(found(&sieve), expected);
        assert!(tries < 100, "{tries}");
    }

    #[test]
    fn others_are_looked_at_only_where_suspects_explain_nothing() {
        let suspect = |it: DeviceKey| it.0 == 5;
        let new = || Sieve::new((0..10).map(DeviceKey), suspect);
        let mut sieve = new();
        assert_eq!(sift(&mut sieve, |tried| tried != [5]), 1);
        assert_eq!(found(&sieve), [5]);
        assert!(sieve.distrust());
        sift(&mut sieve, |tried| !tried.contains(&7));
        assert_eq!(found(&sieve), [5, 7]);
        assert!(!sieve.distrust(), "nobody is trusted any more");
        let mut sieve = new();
        sift(&mut sieve, |_| true);
        assert!(found(&sieve).is_empty());
    }

    #[test]
    fn a_store_that_refuses_everything_is_told_from_bad_messages() {
        let mut sieve = of_devices(0..1_000);
        let mut tries = 0;
        while !sieve.is_hopeless() {
            sieve.next().unwrap();
            sieve.note_refused("bad");
            tries += 1;
        }
        assert!(tries < 40, "{tries}");
        let mut sieve = of_devices(0..1_000);
        while let Some(tried) = sieve.next() {
            if tried.iter().all(|index| *index >= 2 * DEVICES_MAX) {
                sieve.note_passed();
            } else {
                sieve.note_refused("bad");
            }
            assert!(!sieve.is_hopeless());
        }
        assert_eq!(found(&sieve).len(), 2 * DEVICES_MAX);
        let mut sieve = Sieve::new((0..9).map(DeviceKey), |_| true);
        sift(&mut sieve, |_| false);
        assert!(!sieve.is_hopeless(), "suspects were refused before");
    }
}
