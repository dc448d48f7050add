//! What must be known of the samples so far to judge the next one.

use crate::clock::Timestamp;
use crate::energy::{GAP_MS, Reading, judge};
use crate::sample::Sample;

use super::bucket::Minutes;
use super::{MINUTE_MS, minute_start};

/// What a series' samples up to some moment mean for the next one. A function
/// of the samples in order of time, and recalled from the last few of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context {
    /// The last power within [`GAP_MS`] of the last sample, 0.1 W.
    power: Option<(Timestamp, i32)>,
    /// The last counter reading; forgotten once a sample without one comes
    /// more than [`GAP_MS`] later, since then power is integrated.
    counter: Option<Reading>,
}

impl Context {
    /// The context after samples that are given newest first; reads no further
    /// than [`GAP_MS`] before the newest.
    ///
    /// # Errors
    /// When reading them fails.
    pub fn recall<E>(newest_first: impl IntoIterator<Item = Result<Sample, E>>) -> Result<Self, E> {
        let mut context = Self::default();
        let mut newest = None;
        for sample in newest_first {
            let sample = sample?;
            let newest = *newest.get_or_insert(sample.ts);
            if older_than_gap(sample.ts, newest) {
                // A lone counter reading speaks on however long the silence
                // after it; here there were samples after it.
                break;
            }
            if context.power.is_none() {
                context.power = sample.values.power_dw.map(|dw| (sample.ts, dw));
            }
            if context.counter.is_none() {
                context.counter = reading(&sample);
            }
            if context.power.is_some() && context.counter.is_some() {
                break;
            }
        }
        Ok(context)
    }

    /// Takes the next sample in order of time, and adds what the pair of it and
    /// what came before gives (or takes it back, where `sign` is -1) to `out`.
    pub fn step(&mut self, sample: &Sample, sign: i64, out: &mut Minutes) {
        self.forget(sample);
        let metered = self.counter.is_some();
        if let (Some(from), Some(dw)) = (self.power, sample.values.power_dw) {
            integrate(from, (sample.ts, dw), |minute, ms, dwms| {
                let bucket = out.at(minute);
                bucket.covered_ms += ms * sign;
                bucket.power_dwms += dwms * sign;
                if !metered {
                    bucket.energy.integrated_dwms += dwms * sign;
                }
            });
        }
        if let (Some(before), Some(after)) = (self.counter, reading(sample)) {
            let entry = judge(before, after);
            out.at(sample.ts).energy.book(entry, sign);
        }
        self.remember(sample);
    }

    /// Takes the next sample in order of time without adding anything.
    pub fn pass(&mut self, sample: &Sample) {
        self.forget(sample);
        self.remember(sample);
    }

    /// The last power and the last counter reading that still speak.
    pub(super) const fn parts(&self) -> (Option<(Timestamp, i32)>, Option<Reading>) {
        (self.power, self.counter)
    }

    /// The inverse of [`Context::parts`].
    pub(super) const fn from_parts(
        power: Option<(Timestamp, i32)>,
        counter: Option<Reading>,
    ) -> Self {
        Self { power, counter }
    }

    fn forget(&mut self, sample: &Sample) {
        self.power = self.power.filter(|(ts, _)| !older_than_gap(*ts, sample.ts));
        if sample.values.energy_dwh.is_none() {
            self.counter = self.counter.filter(|it| !older_than_gap(it.ts, sample.ts));
        }
    }

    fn remember(&mut self, sample: &Sample) {
        if let Some(dw) = sample.values.power_dw {
            self.power = Some((sample.ts, dw));
        }
        if let Some(reading) = reading(sample) {
            self.counter = Some(reading);
        }
    }
}

fn reading(sample: &Sample) -> Option<Reading> {
    let ts = sample.ts;
    sample.values.energy_dwh.map(|dwh| Reading { ts, dwh })
}

fn older_than_gap(ts: Timestamp, than: Timestamp) -> bool {
    than.as_millis().saturating_sub(ts.as_millis()) > GAP_MS
}

/// Integrates the straight line between two powers and hands out, minute by
/// minute, the milliseconds and the 0.1 W × ms. The parts add up to the whole
/// exactly: each is the difference of two rounded areas from the start.
fn integrate(
    (from, from_dw): (Timestamp, i32),
    (to, to_dw): (Timestamp, i32),
    mut give: impl FnMut(Timestamp, i64, i64),
) {
    let length = to.as_millis() - from.as_millis();
    let (p, q) = (i64::from(from_dw), i64::from(to_dw));
    let last = minute_start(to);
    let mut minute = minute_start(from);
    if minute == last {
        give(minute, length, ((p + q) * length).div_euclid(2));
        return;
    }
    let mut done_ms = 0;
    let mut done_dwms = 0;
    while minute <= last {
        let next = Timestamp::from_millis(minute.as_millis() + MINUTE_MS);
        let reached_ms = (next.min(to)).as_millis() - from.as_millis();
        let reached_dwms = area(p, q, reached_ms, length);
        if reached_ms > done_ms {
            give(minute, reached_ms - done_ms, reached_dwms - done_dwms);
        }
        (done_ms, done_dwms) = (reached_ms, reached_dwms);
        minute = next;
    }
}

/// The area under the line from `p` to `q` over `length`, from its start to
/// `x`, rounded down: p·x + (q - p)·x² / (2·length).
fn area(p: i64, q: i64, x: i64, length: i64) -> i64 {
    let [p, q, x, length] = [p, q, x, length].map(i128::from);
    let twice: i128 = 2 * p * x * length + (q - p) * x * x;
    i64::try_from(twice.div_euclid(2 * length)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SocketId;
    use crate::sample::Values;

    fn power(at_ms: i64, dw: i32) -> Sample {
        sample(at_ms, Some(dw), None)
    }

    fn sample(at_ms: i64, power_dw: Option<i32>, energy_dwh: Option<i64>) -> Sample {
        Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(at_ms),
            values: Values {
                power_dw,
                energy_dwh,
                ..Values::default()
            },
        }
    }

    fn minutes(samples: &[Sample]) -> Minutes {
        let mut context = Context::default();
        let mut out = Minutes::default();
        for sample in samples {
            context.step(sample, 1, &mut out);
        }
        out
    }

    #[test]
    fn a_pair_across_minutes_is_split_where_they_meet() {
        // From 0 W to 120 W in two minutes: 30 W on average, then 90 W.
        let out = minutes(&[power(0, 0), power(120_000, 1_200)]);
        let means: Vec<_> = out
            .as_slice()
            .iter()
            .map(|at| (at.start.as_millis(), at.bucket.mean_power_w()))
            .collect();
        assert_eq!(means, [(0, Some(30.0)), (60_000, Some(90.0))]);
        let total: f64 = out
            .as_slice()
            .iter()
            .map(|it| it.bucket.energy.total_wh())
            .sum();
        assert!((total - 2.0).abs() < 1e-9, "60 W for 2 min, got {total} Wh");
    }

    #[test]
    fn a_silence_over_five_minutes_is_not_bridged() {
        let kept = minutes(&[power(0, 600), power(GAP_MS, 600)]);
        assert_eq!(kept.as_slice().len(), 5);
        let broken = minutes(&[power(0, 600), power(GAP_MS + 1, 600)]);
        assert_eq!(broken.as_slice(), []);
    }

    #[test]
    fn a_counter_speaks_for_its_time_and_power_for_the_rest() {
        let out = minutes(&[
            power(0, 3_600),
            // The first reading is a baseline: until here power is integrated.
            sample(10_000, Some(3_600), Some(500)),
            power(20_000, 3_600),
            sample(30_000, Some(3_600), Some(520)),
        ]);
        let energy = out.as_slice()[0].bucket.energy;
        assert_eq!(energy.metered_dwh, 20);
        assert_eq!(energy.integrated_dwms, 3_600 * 10_000);
        assert!((energy.total_wh() - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_counter_that_stays_away_gives_way_to_power_and_returns_as_a_baseline() {
        let mut samples = vec![sample(0, Some(600), Some(100))];
        samples.extend((1..=20).map(|minute| power(minute * MINUTE_MS, 600)));
        samples.push(sample(21 * MINUTE_MS, Some(600), Some(310)));
        let mut sum = super::super::Bucket::default();
        for at in minutes(&samples).as_slice() {
            sum.add(&at.bucket);
        }
        assert_eq!(sum.energy.metered_dwh + sum.energy.bridged_dwh, 0);
        // Minutes 0 to 5 were the counter's; the rest is integrated.
        assert_eq!(sum.energy.integrated_dwms, 600 * 16 * MINUTE_MS);
        assert_eq!(sum.covered_ms, 21 * MINUTE_MS);
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        let out = minutes(&[
            sample(0, Some(i32::MAX), Some(i64::MAX)),
            sample(GAP_MS, Some(i32::MIN), Some(i64::MIN)),
        ]);
        assert!(!out.as_slice().is_empty());
    }
}
