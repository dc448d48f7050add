//! Buckets of every level from minutes, added up and compared.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::clock::Timestamp;
use crate::site::Days;

use super::bucket::BucketAt;
use super::{Level, coarsen, quarter_start};

impl Level {
    /// Every stored level, finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Quarter, Self::Day];

    /// Minutes, in order of time, as buckets of this level.
    #[must_use]
    pub fn of_minutes(self, minutes: &[BucketAt], days: &mut Days) -> Vec<BucketAt> {
        match self {
            Self::Minute => minutes.to_vec(),
            Self::Quarter => coarsen(minutes, quarter_start),
            Self::Day => coarsen(minutes, |ts| days.day_of(ts).1),
        }
    }
}

/// Adds the differences that start in `range` to `kept`, both in order of
/// time; what is then empty goes.
pub fn add_up(kept: &mut Vec<BucketAt>, differences: &[BucketAt], range: &Range<Timestamp>) {
    for at in differences.iter().filter(|at| range.contains(&at.start)) {
        match kept.binary_search_by_key(&at.start, |it| it.start) {
            Ok(index) => kept[index].bucket.add(&at.bucket),
            Err(index) => kept.insert(index, *at),
        }
    }
    kept.retain(|at| !at.bucket.is_empty());
}

/// How many buckets differ, are missing, or are too many.
#[must_use]
pub fn differing(was: &[BucketAt], is: &[BucketAt]) -> usize {
    let was: BTreeMap<_, _> = was.iter().map(|at| (at.start, at.bucket)).collect();
    let is: BTreeMap<_, _> = is.iter().map(|at| (at.start, at.bucket)).collect();
    let wrong = is.iter().filter(|(at, it)| was.get(at) != Some(it)).count();
    let gone = was.keys().filter(|at| !is.contains_key(at)).count();
    wrong + gone
}
