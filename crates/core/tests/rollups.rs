//! Rollups against what a plain reading of the samples says, for any samples
//! in any order, in any batches, repeated at will.
#![expect(clippy::unwrap_used, reason = "a test fails where it must not")]

use std::collections::BTreeMap;

use dormouse_core::clock::Timestamp;
use dormouse_core::energy::{GAP_MS, Reading, judge};
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::memory::MemoryHistory;
use dormouse_core::ports::history::{EARLIEST, HistoryStore, HistoryUpkeep, LATEST, SeriesId};
use dormouse_core::rollup::{Bucket, Level};
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::site::SiteZone;
use proptest::prelude::*;

const SERIES: SeriesId = SeriesId {
    device: DeviceKey(1),
    socket: SocketId::STRIP,
};
const ZONE: &str = "Europe/Berlin";

/// Times cluster around silences, minute and day boundaries.
fn times() -> impl Strategy<Value = i64> {
    let midnight = 1_774_738_800_000_i64; // 2026-03-29 in Berlin, a short day.
    prop_oneof![
        4 => (0..900_i64).prop_map(|s| s * 1_000),
        2 => (0..3_i64, -2..3_i64).prop_map(|(n, d)| n * GAP_MS + d),
        1 => (0..60_i64).prop_map(|n| n * 60_000),
        1 => 0..200_000_000_i64,
    ]
    .prop_map(move |ms| midnight - 300_000 + ms)
}

fn values() -> impl Strategy<Value = Values> {
    let power = prop_oneof![3 => (0..40_000_i32).prop_map(Some), 1 => Just(None)];
    let energy = prop_oneof![
        2 => (10_000..10_050_i64).prop_map(Some),
        1 => (0..100_000_i64).prop_map(Some),
        2 => Just(None),
    ];
    (power, energy).prop_map(|(power_dw, energy_dwh)| Values {
        power_dw,
        energy_dwh,
        ..Values::default()
    })
}

fn sample(ts: i64, values: Values) -> DeviceSample {
    DeviceSample {
        device: SERIES.device,
        sample: Sample {
            socket: SERIES.socket,
            ts: Timestamp::from_millis(ts),
            values,
        },
    }
}

/// Batches of indices into the samples: every index at least once.
fn batches(samples: usize) -> impl Strategy<Value = Vec<Vec<usize>>> {
    let again = prop::collection::vec(0..samples, 0..samples);
    (again, 1..8_usize).prop_perturb(move |(again, parts), mut rng| {
        let mut order: Vec<usize> = (0..samples).chain(again).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, rng.random_range(0..=i));
        }
        let size = order.len().div_ceil(parts).max(1);
        order.chunks(size).map(<[usize]>::to_vec).collect()
    })
}

/// Samples by time, and an order to bring them in.
fn cases() -> impl Strategy<Value = (Vec<DeviceSample>, Vec<Vec<usize>>)> {
    prop::collection::btree_map(times(), values(), 1..80)
        .prop_map(|by_time| {
            let samples = by_time.into_iter().map(|(ts, values)| sample(ts, values));
            samples.collect::<Vec<_>>()
        })
        .prop_flat_map(|samples| {
            let order = batches(samples.len());
            (Just(samples), order)
        })
}

async fn levels(store: &MemoryHistory) -> Vec<Vec<(Timestamp, Bucket)>> {
    let mut all = Vec::new();
    for level in [Level::Minute, Level::Quarter, Level::Day] {
        let buckets = store.buckets(SERIES, level, EARLIEST..LATEST).await;
        let buckets = buckets.unwrap().into_iter();
        all.push(buckets.map(|at| (at.start, at.bucket)).collect());
    }
    all
}

fn sum(buckets: &[(Timestamp, Bucket)]) -> Bucket {
    let mut sum = Bucket::default();
    for (_, bucket) in buckets {
        sum.add(bucket);
    }
    sum
}

/// The totals by their definition, with no buckets and no state.
fn by_definition(samples: &[DeviceSample]) -> Bucket {
    let mut total = Bucket {
        count: i64::try_from(samples.len()).unwrap(),
        ..Bucket::default()
    };
    let all: Vec<(i64, Values)> = samples
        .iter()
        .map(|it| (it.sample.ts.as_millis(), it.sample.values))
        .collect();
    let powers: Vec<(i64, i64)> = all
        .iter()
        .filter_map(|(ts, it)| Some((*ts, it.power_dw?.into())))
        .collect();
    for pair in powers.windows(2) {
        let [(t0, p0), (t1, p1)] = [pair[0], pair[1]];
        if t1 - t0 <= GAP_MS {
            total.covered_ms += t1 - t0;
            total.power_dwms += ((p0 + p1) * (t1 - t0)).div_euclid(2);
        }
    }
    total.power_min_dw = powers.iter().map(|it| i32::try_from(it.1).unwrap()).min();
    total.power_max_dw = powers.iter().map(|it| i32::try_from(it.1).unwrap()).max();
    total
}

/// What the counter alone says of a series in which every sample carries it.
fn ledger(samples: &[DeviceSample]) -> BTreeMap<&'static str, i64> {
    let mut accounts = BTreeMap::new();
    for pair in samples.windows(2) {
        let reading = |it: &DeviceSample| Reading {
            ts: it.sample.ts,
            dwh: it.sample.values.energy_dwh.unwrap(),
        };
        let entry = judge(reading(&pair[0]), reading(&pair[1]));
        let name = match entry.cause {
            dormouse_core::energy::Cause::Metered => "metered",
            dormouse_core::energy::Cause::Bridged => "bridged",
            dormouse_core::energy::Cause::Reset => "reset",
            dormouse_core::energy::Cause::RolledBack => "rolled back",
            dormouse_core::energy::Cause::Implausible => "implausible",
        };
        *accounts.entry(name).or_insert(0) += entry.dwh;
    }
    accounts.retain(|_, dwh| *dwh != 0);
    accounts
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(256)
    })]

    #[test]
    fn any_order_and_repetition_gives_the_rollups_of_one_sorted_pass(
        (samples, order) in cases(),
    ) {
        run(async {
            let zone = SiteZone::named(ZONE).unwrap();
            let sorted = MemoryHistory::new(zone.clone());
            sorted.append(samples.clone(), None).await.unwrap();
            let mixed = MemoryHistory::new(zone.clone());
            for batch in order {
                let batch = batch.into_iter().map(|index| samples[index]);
                mixed.append(batch.collect(), None).await.unwrap();
            }
            let expected = levels(&sorted).await;
            prop_assert_eq!(&levels(&mixed).await, &expected);

            let by_definition = by_definition(&samples);
            for level in &expected {
                let mut sum = sum(level);
                sum.energy = Default::default();
                prop_assert_eq!(sum, by_definition);
            }
            let energies: Vec<_> = expected.iter().map(|level| sum(level).energy).collect();
            prop_assert_eq!(energies[0], energies[1]);
            prop_assert_eq!(energies[0], energies[2]);

            let days = samples.iter().map(|it| zone.day_of(it.sample.ts));
            for day in days {
                prop_assert_eq!(mixed.rebuild(SERIES, day).await.unwrap().corrected, 0);
            }
            prop_assert_eq!(&levels(&mixed).await, &expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_counter_in_every_sample_is_booked_pair_by_pair(
        (mut samples, order) in cases(),
        counts in prop::collection::vec(0..30_000_i64, 80),
    ) {
        for (sample, dwh) in samples.iter_mut().zip(counts) {
            sample.sample.values.energy_dwh = Some(dwh);
        }
        run(async {
            let store = MemoryHistory::new(SiteZone::UTC);
            for batch in order {
                let batch = batch.into_iter().map(|index| samples[index]);
                store.append(batch.collect(), None).await.unwrap();
            }
            let energy = sum(&levels(&store).await[0]).energy;
            let mut accounts = BTreeMap::from([
                ("metered", energy.metered_dwh),
                ("bridged", energy.bridged_dwh),
                ("reset", energy.reset_dwh),
                ("rolled back", energy.rolled_back_dwh),
                ("implausible", energy.implausible_dwh),
            ]);
            accounts.retain(|_, dwh| *dwh != 0);
            prop_assert_eq!(accounts, ledger(&samples));
            prop_assert_eq!(energy.integrated_dwms, 0);
            Ok(())
        })?;
    }
}
