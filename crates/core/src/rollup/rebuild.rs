//! Rollups of a stretch of time, derived from its samples alone.

use std::ops::Range;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::energy::GAP_MS;

use super::bucket::{BucketAt, Minutes};
use super::series::SeriesRows;

/// Samples read at a time.
const READ_AHEAD: usize = 4_096;

/// The minutes of `range` as the samples of `rows` make them. `range` starts
/// and ends with a minute.
///
/// # Errors
/// When reading fails.
pub fn rebuild<R: SeriesRows>(
    rows: &mut R,
    range: &Range<Timestamp>,
) -> Result<Vec<BucketAt>, R::Error> {
    let mut context = rows.before(range.start)?;
    let mut minutes = Minutes::default();
    let mut from = range.start;
    // Later samples can share a pair that reaches into the range.
    let reach = range.end + Duration::from_millis(GAP_MS.unsigned_abs());
    loop {
        let run = rows.from(from, READ_AHEAD)?;
        for sample in run.iter().take_while(|it| it.ts <= reach) {
            context.step(sample, 1, &mut minutes);
            minutes.sampled(sample);
        }
        match run.last() {
            Some(last) if run.len() == READ_AHEAD && last.ts <= reach => {
                from = last.ts + Duration::from_millis(1);
            }
            Some(_) | None => break,
        }
    }
    let inside = |at: &&BucketAt| range.contains(&at.start) && !at.bucket.is_empty();
    Ok(minutes.as_slice().iter().filter(inside).copied().collect())
}
