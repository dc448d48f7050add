//! What a bucket holds, and a run of minute buckets under construction.

use std::ops::Range;

use crate::clock::Timestamp;
use crate::energy::{Cause, DWMS_PER_DWH, Entry};
use crate::sample::Sample;

use super::MINUTE_MS;

/// Sums and extremes of one series over one stretch of time. Two buckets of
/// neighbouring stretches add up to the bucket of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Samples.
    pub count: i64,
    /// Milliseconds for which power is known.
    pub covered_ms: i64,
    /// Power × time over them, 0.1 W × 1 ms.
    pub power_dwms: i64,
    /// The lowest power sampled, 0.1 W.
    pub power_min_dw: Option<i32>,
    /// The highest power sampled, 0.1 W.
    pub power_max_dw: Option<i32>,
    /// Energy by cause.
    pub energy: Energy,
}

/// A bucket and when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketAt {
    /// Its first moment.
    pub start: Timestamp,
    /// What is in it.
    pub bucket: Bucket,
}

/// Energy by cause; what is booked at a counter reading belongs to its minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Energy {
    /// [`Cause::Metered`], 0.1 Wh.
    pub metered_dwh: i64,
    /// [`Cause::Bridged`], 0.1 Wh.
    pub bridged_dwh: i64,
    /// [`Cause::Reset`], 0.1 Wh.
    pub reset_dwh: i64,
    /// [`Cause::RolledBack`], 0.1 Wh; does not count.
    pub rolled_back_dwh: i64,
    /// [`Cause::Implausible`], 0.1 Wh; does not count.
    pub implausible_dwh: i64,
    /// Power integrated where there is no counter, 0.1 W × 1 ms.
    pub integrated_dwms: i64,
}

impl Bucket {
    /// Adds what `other` holds.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.covered_ms = self.covered_ms.saturating_add(other.covered_ms);
        self.power_dwms = self.power_dwms.saturating_add(other.power_dwms);
        self.power_min_dw = both(self.power_min_dw, other.power_min_dw, i32::min);
        self.power_max_dw = both(self.power_max_dw, other.power_max_dw, i32::max);
        self.energy.add(&other.energy);
    }

    /// Whether it holds nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Mean power over the covered time, W; `None` where none is covered.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "sums of one bucket stay far below 2^53"
    )]
    pub fn mean_power_w(&self) -> Option<f64> {
        (self.covered_ms > 0).then(|| self.power_dwms as f64 / self.covered_ms as f64 / 10.0)
    }

    /// Notes that `power_dw` was sampled.
    fn sampled(&mut self, power_dw: Option<i32>) {
        self.count = self.count.saturating_add(1);
        self.power_min_dw = both(self.power_min_dw, power_dw, i32::min);
        self.power_max_dw = both(self.power_max_dw, power_dw, i32::max);
    }
}

impl Energy {
    /// Adds what `other` holds.
    pub fn add(&mut self, other: &Self) {
        let sum = |ours: &mut i64, theirs: i64| *ours = ours.saturating_add(theirs);
        sum(&mut self.metered_dwh, other.metered_dwh);
        sum(&mut self.bridged_dwh, other.bridged_dwh);
        sum(&mut self.reset_dwh, other.reset_dwh);
        sum(&mut self.rolled_back_dwh, other.rolled_back_dwh);
        sum(&mut self.implausible_dwh, other.implausible_dwh);
        sum(&mut self.integrated_dwms, other.integrated_dwms);
    }

    /// What counts: metered, bridged, after a reset and integrated, Wh.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "an energy stays far below 2^53 of its unit"
    )]
    pub fn total_wh(&self) -> f64 {
        let counted = self
            .metered_dwh
            .saturating_add(self.bridged_dwh)
            .saturating_add(self.reset_dwh);
        let integrated_dwh = self.integrated_dwms as f64 / DWMS_PER_DWH as f64;
        (counted as f64 + integrated_dwh) / 10.0
    }

    /// Books `entry`, or takes it back where `sign` is -1.
    pub(super) fn book(&mut self, entry: Entry, sign: i64) {
        let account = match entry.cause {
            Cause::Metered => &mut self.metered_dwh,
            Cause::Bridged => &mut self.bridged_dwh,
            Cause::Reset => &mut self.reset_dwh,
            Cause::RolledBack => &mut self.rolled_back_dwh,
            Cause::Implausible => &mut self.implausible_dwh,
        };
        *account = account.saturating_add(entry.dwh.saturating_mul(sign));
    }
}

fn both(one: Option<i32>, other: Option<i32>, pick: fn(i32, i32) -> i32) -> Option<i32> {
    match (one, other) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (one, other) => one.or(other),
    }
}

/// Minute buckets of one series in order of time, under construction. They may
/// hold differences: what is to be added to buckets kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Minutes(Vec<BucketAt>);

impl Minutes {
    /// The bucket of the minute that holds `ts`, made where there is none.
    pub(super) fn at(&mut self, ts: Timestamp) -> &mut Bucket {
        let ms = ts.as_millis();
        let start = Timestamp::from_millis(ms - ms.rem_euclid(MINUTE_MS));
        // Nearly every sample falls into the newest minute.
        let place = match self.0.last() {
            Some(last) if last.start == start => Ok(self.0.len() - 1),
            Some(last) if last.start < start => Err(self.0.len()),
            Some(_) | None => self.0.binary_search_by_key(&start, |at| at.start),
        };
        let index = place.unwrap_or_else(|index| {
            let bucket = Bucket::default();
            self.0.insert(index, BucketAt { start, bucket });
            index
        });
        &mut self.0[index].bucket
    }

    /// Counts `sample` itself; its pairs are its neighbours' affair too.
    pub(super) fn sampled(&mut self, sample: &Sample) {
        self.at(sample.ts).sampled(sample.values.power_dw);
    }

    /// The buckets in order of time.
    #[must_use]
    pub fn as_slice(&self) -> &[BucketAt] {
        &self.0
    }

    /// Takes out the buckets that start before `ts`, unless they are empty.
    pub(super) fn take_before(&mut self, ts: Timestamp) -> Vec<BucketAt> {
        let end = self.0.partition_point(|at| at.start < ts);
        let taken = self.0.drain(..end);
        taken.filter(|at| !at.bucket.is_empty()).collect()
    }

    /// Takes out the buckets that start in `range`.
    pub fn remove(&mut self, range: &Range<Timestamp>) {
        self.0.retain(|at| !range.contains(&at.start));
    }

    /// From buckets in order of time, each once; `None` where they are not.
    pub(super) fn from_sorted(buckets: Vec<BucketAt>) -> Option<Self> {
        let is_sorted = buckets.is_sorted_by(|a, b| a.start < b.start);
        is_sorted.then_some(Self(buckets))
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
