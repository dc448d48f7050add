//! Samples of a few days in which everything happens, and all that a history
//! answers about them.

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::ports::history::{
    EARLIEST, FleetEnergy, Floors, HistoryStore, HistoryUpkeep, LATEST, SeriesId,
};
use dormouse_core::rollup::{BucketAt, Level};
use dormouse_core::sample::{DeviceSample, Sample, Values};

const DEVICES: u32 = 4;
const SOCKETS: u64 = 2;
const MINUTE_MS: i64 = 60_000;

/// Repeatable noise.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        let state = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = state.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap();
            items.swap(at, other);
        }
    }
}

pub(super) fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-05-01T21:00:00Z").unwrap()
}

pub(super) fn hour(n: i64) -> Timestamp {
    Timestamp::from_millis(start().as_millis() + n * 60 * MINUTE_MS)
}

/// Some `rounds` of each series from [`start`] on, by series and time:
/// silences, counters that come, fall, restart and go, power without a counter
/// and the reverse.
pub(super) fn samples(dice: &mut Dice, rounds: u64) -> Vec<DeviceSample> {
    let mut all = Vec::new();
    for device in 1..=DEVICES {
        for socket in 0..SOCKETS {
            let mut ts = start().as_millis();
            let mut dwh = 1_000;
            for _ in 0..rounds {
                ts += match dice.below(30) {
                    0 => 7 * MINUTE_MS,
                    1 => i64::try_from(1 + dice.below(40)).unwrap() * MINUTE_MS,
                    _ => 1_000 + i64::try_from(dice.below(90_000)).unwrap(),
                };
                dwh = match dice.below(40) {
                    0 => 0,
                    1 => dwh - dwh / 20,
                    2 => dwh + 1_000_000,
                    _ => dwh + i64::try_from(dice.below(60)).unwrap(),
                };
                let counted = (ts / (20 * MINUTE_MS)) % 2 == 0 && dice.below(7) > 0;
                let power = i32::try_from(dice.below(20_000)).unwrap();
                all.push(DeviceSample {
                    device: DeviceKey(device),
                    sample: Sample {
                        socket: SocketId::parse(socket).unwrap(),
                        ts: Timestamp::from_millis(ts),
                        values: Values {
                            power_dw: (dice.below(11) > 0).then_some(power),
                            voltage_dv: Some(2_300),
                            current_ma: Some(power / 23),
                            energy_dwh: counted.then_some(dwh),
                            power_factor_centi: (dice.below(2) > 0).then_some(-94),
                        },
                    },
                });
            }
        }
    }
    all
}

/// The samples in batches as they might come: mostly in order of time, some
/// late, some again.
pub(super) fn batches(dice: &mut Dice, samples: &[DeviceSample]) -> Vec<Vec<DeviceSample>> {
    let mut in_order = samples.to_vec();
    in_order.sort_by_key(|it| it.sample.ts);
    let mut batches: Vec<Vec<DeviceSample>> = in_order.chunks(37).map(<[_]>::to_vec).collect();
    for at in 0..batches.len() {
        for _ in 0..dice.below(12) {
            let from = usize::try_from(dice.below(batches[at].len() as u64)).unwrap();
            let sample = batches[at][from];
            let to = usize::try_from(dice.below(batches.len() as u64)).unwrap();
            if dice.below(2) == 0 && batches[at].len() > 1 {
                batches[at].remove(from);
            }
            batches[to.max(at)].push(sample);
        }
        dice.shuffle(&mut batches[at]);
    }
    // Of two samples with one time the first counts: these are the same.
    batches
}

/// All that a history answers.
#[derive(Debug)]
pub(super) struct Answers {
    series: Vec<SeriesId>,
    samples: Vec<(SeriesId, Vec<Sample>)>,
    buckets: Vec<(SeriesId, Level, Vec<BucketAt>)>,
    /// In micro-Wh: an engine may add floats up in an order of its own.
    fleet: Vec<Vec<(SeriesId, Timestamp, i64)>>,
    floors: Floors,
}

impl Answers {
    /// Fails at the first difference, and shows no more than that.
    pub(super) fn assert_same(&self, other: &Self, who: &str) {
        assert_eq!(self.floors, other.floors, "{who}");
        assert_eq!(self.series, other.series, "{who}");
        for (ours, theirs) in self.samples.iter().zip(&other.samples) {
            assert_eq!(ours, theirs, "{who}");
        }
        for (ours, theirs) in self.buckets.iter().zip(&other.buckets) {
            assert_eq!(ours, theirs, "{who}");
        }
        for (ours, theirs) in self.fleet.iter().zip(&other.fleet) {
            let differ = ours.iter().zip(theirs).find(|(a, b)| a != b);
            assert_eq!(differ, None, "{who}");
            assert_eq!(ours.len(), theirs.len(), "{who}");
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
pub(super) async fn answers<S: HistoryStore + HistoryUpkeep>(store: &S) -> Answers {
    let series = store.series().await.unwrap();
    let ranges = [EARLIEST..LATEST, hour(2)..hour(5), hour(-9)..hour(30)];
    let mut answers = Answers {
        floors: store.floors().await.unwrap(),
        samples: Vec::new(),
        buckets: Vec::new(),
        fleet: Vec::new(),
        series,
    };
    for range in ranges {
        for series in answers.series.clone() {
            let found = store.samples(series, range.clone(), 700).await.unwrap();
            answers.samples.push((series, found));
            for level in Level::ALL {
                let found = store.buckets(series, level, range.clone()).await.unwrap();
                answers.buckets.push((series, level, found));
            }
        }
        for level in Level::ALL {
            let found = store.fleet_energy(level, range.clone()).await.unwrap();
            let energy =
                |it: FleetEnergy| (it.series, it.start, (it.energy_wh * 1e6).round() as i64);
            answers.fleet.push(found.into_iter().map(energy).collect());
        }
    }
    answers
}
