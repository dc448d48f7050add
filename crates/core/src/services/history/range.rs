//! Which ranges and resolutions make sense together.

use std::ops::Range;
use std::time::Duration;

use crate::clock::Timestamp;

/// The range of days that is answered where none is given.
const DEFAULT: Duration = Duration::from_secs(DAY_S);
/// The longest range: ten years.
const LONGEST: Duration = Duration::from_secs(3_653 * DAY_S);
/// 2000-01-01, the earliest time that makes sense.
const EARLIEST: Timestamp = Timestamp::from_millis(946_684_800_000);
/// 2100-01-01, the first that does not.
const LATEST: Timestamp = Timestamp::from_millis(4_102_444_800_000);
const DAY_S: u64 = 24 * 3_600;

/// How fine history is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Every sample.
    Raw,
    /// Minutes.
    Minute,
    /// Quarters of an hour.
    Quarter,
    /// Hours of the site.
    Hour,
    /// Days of the site.
    Day,
}

/// A range that is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidRange {
    /// Which parameter.
    pub field: &'static str,
    /// Which rule it broke.
    pub rule: String,
}

impl Resolution {
    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "minute",
            Self::Quarter => "quarter",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The shortest stretch between two points; `None` for samples.
    #[must_use]
    pub const fn least(self) -> Option<Duration> {
        match self {
            Self::Raw => None,
            Self::Minute => Some(Duration::from_secs(60)),
            Self::Quarter => Some(Duration::from_secs(900)),
            Self::Hour => Some(Duration::from_secs(3_600)),
            // A day on which clocks go forward.
            Self::Day => Some(Duration::from_secs(23 * 3_600)),
        }
    }

    /// The days that one answer covers at most; an export has no such limit.
    const fn reach_days(self) -> u64 {
        match self {
            Self::Raw => 7,
            Self::Minute => 62,
            Self::Quarter => 732,
            Self::Hour | Self::Day => LONGEST.as_secs() / DAY_S,
        }
    }

    /// Checks that one answer can cover `range`.
    ///
    /// # Errors
    /// When it is too long for this resolution.
    pub fn check_reach(self, range: &Range<Timestamp>) -> Result<(), InvalidRange> {
        let days = self.reach_days();
        if range.end.since(range.start) <= Duration::from_secs(days * DAY_S) {
            return Ok(());
        }
        let name = self.name();
        Err(InvalidRange {
            field: "resolution",
            rule: format!(
                "'{name}' answers at most {days} days at once; ask for a coarser one or for the CSV export"
            ),
        })
    }
}

/// The range that is asked for.
///
/// # Errors
/// When it is empty, reversed, absurdly long or outside 2000 to 2100.
pub fn check_range(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<Range<Timestamp>, InvalidRange> {
    let broken = |field, rule: &str| {
        Err(InvalidRange {
            field,
            rule: rule.to_owned(),
        })
    };
    for (field, time) in [("from", from), ("to", to)] {
        if time.is_some_and(|it| !(EARLIEST..LATEST).contains(&it)) {
            return broken(field, "must lie between the years 2000 and 2100");
        }
    }
    let to = to.unwrap_or(now);
    let from = from.unwrap_or(to - DEFAULT);
    if from >= to {
        return broken("from", "must be before 'to'");
    }
    if to.since(from) > LONGEST {
        return broken("from", "must be at most ten years before 'to'");
    }
    Ok(from..to)
}
