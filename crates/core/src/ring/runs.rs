//! Rings as strings, for engines that keep bytes: a list of runs of samples,
//! to which anybody appends short ones, and which anybody may merge.

use super::block::{Block, Tail};
use super::{BLOCK_SAMPLES, REACH, Ring};
use crate::clock::Timestamp;
use crate::ports::hot::{Recent, RingSample};

/// One run of `samples`, in any order; empty where there are none. The first
/// of those with the same time counts.
#[must_use]
pub fn run(mut samples: Vec<RingSample>) -> Vec<u8> {
    samples.sort_by_key(|sample| sample.ts);
    samples.dedup_by_key(|sample| sample.ts);
    let mut bytes = Vec::new();
    if !samples.is_empty() {
        Tail::of(&samples).write(&mut bytes);
    }
    bytes
}

/// The samples of `runs` from `from` (included) to `to` (not), as one ring of
/// them has it. What is no run is left out.
pub fn read<'a>(
    runs: impl IntoIterator<Item = &'a [u8]>,
    from: Timestamp,
    to: Timestamp,
) -> Recent {
    Ring::of_runs(runs).read(from, to)
}

/// The same samples in few, long runs, without those beyond the ring's reach.
/// Long runs at the beginning stay as they are, byte for byte.
#[must_use]
pub fn merge<'a>(runs: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut ring = Ring::of_runs(runs);
    ring.expire(ring.newest() - REACH);
    ring.into_runs()
}

impl Ring {
    fn of_runs<'a>(runs: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut ring = Self::default();
        for block in runs.into_iter().filter_map(Block::read) {
            let empty = ring.closed.is_empty() && ring.tail.count == 0;
            let follows = empty || block.first > ring.newest();
            if follows && block.count >= BLOCK_SAMPLES {
                ring.close_tail();
                ring.closed.push_back(block);
            } else {
                block.samples().for_each(|sample| ring.insert(&sample));
            }
        }
        ring
    }

    fn into_runs(mut self) -> Vec<Vec<u8>> {
        self.close_tail();
        let bytes_of = |block: &Block| {
            let mut bytes = Vec::new();
            block.write(&mut bytes);
            bytes
        };
        self.closed.iter().map(bytes_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::sample::Values;

    const NOON: Timestamp = Timestamp::from_millis(1_767_268_800_000);
    const END: Timestamp = Timestamp::from_millis(i64::MAX);

    fn sample(n: u64) -> RingSample {
        RingSample {
            ts: NOON + Duration::from_millis(n * 5_000 + n * 37 % 90),
            values: Values {
                power_dw: i32::try_from(2_000 + n * 7_919 % 40).ok(),
                voltage_dv: i32::try_from(2_300 + n * 31 % 9).ok(),
                current_ma: i32::try_from(880 + n * 7_919 % 40 / 2).ok(),
                energy_dwh: i64::try_from(90_000 + n * 3).ok(),
                power_factor_centi: Some(97),
            },
        }
    }

    fn slices(runs: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
        runs.iter().map(Vec::as_slice)
    }

    #[test]
    fn two_hours_merged_as_they_come_take_four_bytes_a_sample() {
        let mut runs = Vec::new();
        for n in 0..1_440 {
            runs.push(run(vec![sample(n)]));
            if runs.len() >= 50 {
                runs = merge(slices(&runs));
            }
        }
        runs = merge(slices(&runs));
        let all = read(slices(&runs), NOON, END).samples;
        assert_eq!(all, (0..1_440).map(sample).collect::<Vec<_>>());
        let bytes: usize = runs.iter().map(Vec::len).sum();
        assert!(bytes <= 4 * 1_440, "{bytes}");
        assert!(runs.len() <= 9, "{}", runs.len());
    }

    #[test]
    fn long_runs_stay_as_they_are_when_new_ones_follow() {
        let start: Vec<_> = (0..400).map(|n| run(vec![sample(n)])).collect();
        let before = merge(slices(&start));
        let mut longer = before.clone();
        longer.extend((400..420).map(|n| run(vec![sample(n)])));
        let after = merge(slices(&longer));
        assert_eq!(before[..2], after[..2]);
    }

    #[test]
    fn what_is_beyond_reach_goes() {
        let old = run((0..200).map(sample).collect());
        let new = run(vec![sample(2 * 1_440)]);
        assert_eq!(merge([&old[..], &new[..]]), [new]);
    }

    proptest! {
        #[test]
        fn any_order_and_any_repeats_end_in_the_same_ring(
            order in prop::collection::vec((0_u64..600, 1_usize..5), 1..200),
            merges in prop::collection::vec(1_usize..60, 1..4),
        ) {
            let mut runs: Vec<Vec<u8>> = Vec::new();
            let mut expected = std::collections::BTreeSet::new();
            for (at, (n, len)) in order.iter().enumerate() {
                let some: Vec<u64> = (*n..).take(*len).collect();
                expected.extend(some.iter().copied());
                runs.push(run(some.into_iter().map(sample).collect()));
                if merges.contains(&(at % 60)) {
                    runs = merge(slices(&runs));
                }
            }
            let all = read(slices(&runs), NOON, END).samples;
            let expected: Vec<_> = expected.into_iter().map(sample).collect();
            prop_assert_eq!(all, expected);
        }

        #[test]
        fn foreign_bytes_are_no_panic(
            runs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)
        ) {
            let merged = merge(slices(&runs));
            let _ = read(slices(&merged), NOON, END);
        }
    }
}
