//! Rollups: history added up into buckets, true whatever order samples come in.
//!
//! A bucket holds sums and extremes only. What a pair of neighbouring samples
//! gives to the buckets it touches ([`Context::step`]) depends on nothing but
//! the pair, so a sample that comes late is worked in exactly: what its
//! neighbours gave as a pair is taken back, and what they give with it between
//! them is added ([`Series::absorb`]). Minutes are the unit; quarter-hours and
//! the site's local days are sums of minutes.

mod bucket;
mod context;
mod levels;
mod rebuild;
mod series;
mod tail;

pub use bucket::{Bucket, BucketAt, Energy, Minutes};
pub use context::Context;
pub use levels::{add_up, differing};
pub use rebuild::rebuild;
pub use series::{Absorbed, Series, SeriesRows};
pub use tail::{SeriesTail, Tail};

use crate::clock::Timestamp;

/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds in a quarter of an hour.
pub const QUARTER_MS: i64 = 15 * MINUTE_MS;

/// How coarse a stored rollup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A minute.
    Minute,
    /// A quarter of an hour.
    Quarter,
    /// A local day of the site.
    Day,
}

/// Adds up neighbours that `start_of` sends to the same start; `buckets` are
/// in order of time.
#[must_use]
pub fn coarsen(
    buckets: &[BucketAt],
    mut start_of: impl FnMut(Timestamp) -> Timestamp,
) -> Vec<BucketAt> {
    let mut coarse: Vec<BucketAt> = Vec::new();
    for fine in buckets {
        let start = start_of(fine.start);
        match coarse.last_mut() {
            Some(last) if last.start == start => last.bucket.add(&fine.bucket),
            Some(_) | None => coarse.push(BucketAt {
                start,
                bucket: fine.bucket,
            }),
        }
    }
    coarse
}

/// The start of the quarter-hour that holds `ts`.
#[must_use]
pub fn quarter_start(ts: Timestamp) -> Timestamp {
    floor(ts, QUARTER_MS)
}

/// The start of the minute that holds `ts`.
#[must_use]
pub fn minute_start(ts: Timestamp) -> Timestamp {
    floor(ts, MINUTE_MS)
}

fn floor(ts: Timestamp, unit_ms: i64) -> Timestamp {
    let ms = ts.as_millis();
    Timestamp::from_millis(ms - ms.rem_euclid(unit_ms))
}
