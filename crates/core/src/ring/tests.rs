use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::sample::Values;

const NOON: i64 = 1_767_268_800_000;

fn at(ts: i64, power_dw: i32) -> RingSample {
    RingSample {
        ts: Timestamp::from_millis(ts),
        values: Values {
            power_dw: Some(power_dw),
            ..Values::default()
        },
    }
}

fn all(ring: &Ring) -> Recent {
    ring.read(
        Timestamp::from_millis(i64::MIN),
        Timestamp::from_millis(i64::MAX),
    )
}

/// A strip with a laptop, a lamp and now and then a kettle, as its meter
/// shows it: every 5 s with some jitter.
#[expect(clippy::cast_possible_truncation, reason = "small by construction")]
fn believable(count: i64) -> Vec<RingSample> {
    let mut random = StdRng::seed_from_u64(7);
    let mut energy_dwh = 123_456.0;
    let mut kettle = 0;
    (0..count)
        .map(|n| {
            if random.random_ratio(1, 200) {
                kettle = 36;
            }
            kettle -= i64::from(kettle > 0);
            let base = if kettle > 0 { 20_650.0 } else { 650.0 };
            let power = base * (1.0 + random.random_range(-0.01..0.01));
            let voltage = 2300.0 + random.random_range(-8.0..8.0);
            energy_dwh += power * 5.0 / 3600.0;
            RingSample {
                ts: Timestamp::from_millis(NOON + n * 5000 + random.random_range(-15..15)),
                values: Values {
                    power_dw: Some(power as i32),
                    voltage_dv: Some(voltage as i32),
                    current_ma: Some((power / voltage * 1000.0) as i32),
                    energy_dwh: Some(energy_dwh as i64),
                    power_factor_centi: Some(random.random_range(97..=99)),
                },
            }
        })
        .collect()
}

#[test]
fn two_hours_take_at_most_four_bytes_a_sample() {
    let samples = believable(1440);
    let mut ring = Ring::default();
    for sample in &samples {
        ring.insert(sample);
    }
    assert_eq!(all(&ring).samples, samples);
    let bytes = ring.bytes();
    assert!(bytes <= 4 * samples.len(), "{bytes} bytes");
}

#[test]
fn what_is_older_than_two_hours_goes() {
    let mut ring = Ring::default();
    for sample in believable(4000) {
        ring.insert(&sample);
    }
    let recent = all(&ring);
    let oldest = recent.samples[0].ts;
    let newest = recent.samples.last().unwrap().ts;
    let span = newest.since(oldest);
    assert!(span >= REACH && span < REACH + BLOCK_SPAN, "{span:?}");
}

#[test]
fn thinning_spares_the_last_quarter_of_an_hour_and_says_so() {
    let samples = believable(1440);
    let mut ring = Ring::default();
    for sample in &samples {
        ring.insert(sample);
    }
    let before = ring.bytes();
    assert!(ring.can_thin());
    ring.thin();
    assert!(!ring.can_thin());
    assert!(ring.bytes() < before / 2, "{} of {before}", ring.bytes());
    let recent = all(&ring);
    let thinned_before = recent.thinned_before.unwrap();
    let newest = samples.last().unwrap().ts;
    assert!(newest.since(thinned_before) >= FULL_DETAIL);
    let kept = |s: &&RingSample| s.ts >= thinned_before;
    let young = recent.samples.iter().filter(kept).count();
    assert_eq!(young, samples.iter().filter(kept).count());
    let old: Vec<_> = recent.samples.iter().filter(|s| !kept(s)).collect();
    assert!(old.windows(2).all(|pair| slot(pair[0]) < slot(pair[1])));
    let whole = ring.read(thinned_before, newest);
    assert_eq!(whole.thinned_before, None, "nothing thinned was asked for");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_order_with_repeats_reads_like_a_sorted_map(
        steps in prop::collection::vec((0_i64..3_000_000, any::<Option<i32>>(), any::<Option<i64>>()), 1..600),
        thin_after in 0_usize..600,
    ) {
        let mut ring = Ring::default();
        let mut expected = BTreeMap::new();
        for (n, (ms, power_dw, energy_dwh)) in steps.into_iter().enumerate() {
            let sample = RingSample {
                ts: Timestamp::from_millis(NOON + ms),
                values: Values { power_dw, energy_dwh, ..Values::default() },
            };
            ring.insert(&sample);
            expected.entry(sample.ts).or_insert(sample);
            if n == thin_after && ring.can_thin() {
                let before = all(&ring).samples.len();
                ring.thin();
                prop_assert!(all(&ring).samples.len() <= before);
                return Ok(());
            }
        }
        let expected: Vec<_> = expected.into_values().collect();
        prop_assert_eq!(all(&ring).samples, expected);
    }
}

#[test]
fn late_samples_far_below_the_newest_are_left_out() {
    let mut ring = Ring::default();
    ring.insert(&at(NOON, 1));
    ring.insert(&at(NOON - RING_MS - 1, 2));
    ring.insert(&at(NOON - RING_MS, 3));
    let powers: Vec<_> = all(&ring)
        .samples
        .iter()
        .map(|s| s.values.power_dw)
        .collect();
    assert_eq!(powers, [Some(3), Some(1)]);
}
