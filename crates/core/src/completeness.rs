//! How much of what should have come came: a number per device and hour.

use std::ops::Range;

use crate::clock::Timestamp;
use crate::ports::history::PeriodSince;

/// How many samples `range` should hold of a device with these periods, oldest
/// first; `None` where no period is known for any of it.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a range stay far below 2^53"
)]
pub fn expected(periods: &[PeriodSince], range: &Range<Timestamp>) -> Option<f64> {
    let mut sum = None;
    for (index, period) in periods.iter().enumerate() {
        let until = periods.get(index + 1).map_or(range.end, |next| next.since);
        let overlap = until.min(range.end).since(period.since.max(range.start));
        let Some(period_ms) = period.period_ms.filter(|ms| *ms > 0) else {
            continue;
        };
        if !overlap.is_zero() {
            *sum.get_or_insert(0.0) += overlap.as_millis() as f64 / period_ms as f64;
        }
    }
    sum
}

/// The received part of what was expected, 0 to 1; `None` where nothing was.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "samples of an hour stay far below 2^53"
)]
pub fn ratio(received: i64, expected: Option<f64>) -> Option<f64> {
    let expected = expected.filter(|it| *it > 0.0)?;
    Some((received as f64 / expected).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn since(ms: i64, period_ms: Option<u64>) -> PeriodSince {
        PeriodSince {
            since: Timestamp::from_millis(ms),
            period_ms,
        }
    }

    fn hour(n: i64) -> Range<Timestamp> {
        Timestamp::from_millis(n * HOUR)..Timestamp::from_millis((n + 1) * HOUR)
    }

    #[test]
    fn what_is_expected_follows_the_periods() {
        let periods = [
            since(HOUR / 2, Some(5_000)),
            since(HOUR + HOUR / 4, Some(10_000)),
            since(3 * HOUR, None),
            since(5 * HOUR, Some(0)),
        ];
        for (n, expected_samples) in [
            (-1, None),
            (0, Some(360.0)),
            (1, Some(180.0 + 270.0)),
            (2, Some(360.0)),
            (3, None),
            (6, None),
        ] {
            assert_eq!(expected(&periods, &hour(n)), expected_samples, "hour {n}");
        }
        assert_eq!(expected(&[], &hour(0)), None);
    }

    #[test]
    fn completeness_is_a_number_up_to_one() {
        assert_eq!(ratio(90, Some(100.0)), Some(0.9));
        assert_eq!(ratio(101, Some(100.0)), Some(1.0));
        assert_eq!(ratio(0, Some(100.0)), Some(0.0));
        assert_eq!(ratio(5, None), None);
        assert_eq!(ratio(5, Some(0.0)), None);
    }
}
