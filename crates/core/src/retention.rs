//! What history drops, and when: the plan, as a function of what there is.

use crate::clock::Timestamp;
use crate::ports::history::{Tier, Usage};
use crate::site::SiteZone;

/// Whole days that are kept however small the budget is, besides today.
const DAYS_ALWAYS_KEPT: i32 = 1;

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionRules {
    /// Days of raw samples.
    pub raw_days: u32,
    /// Days of minute rollups, at least as many as of raw samples.
    pub minute_days: u32,
    /// Bytes that history may take on disk; `None` for no budget.
    pub budget_bytes: Option<u64>,
}

/// One thing to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// What.
    pub tier: Tier,
    /// Everything before it, a start of a local day.
    pub before: Timestamp,
    /// Because of the budget rather than of age.
    pub over_budget: bool,
}

impl RetentionRules {
    /// What is too old at `now`.
    #[must_use]
    pub fn by_age(&self, zone: &SiteZone, now: Timestamp) -> [Cut; 2] {
        let today = zone.day_of(now);
        let start = |days: u32| {
            let days = i32::try_from(days).unwrap_or(i32::MAX);
            zone.start_of(today.plus(days.saturating_neg()))
        };
        // Rollups must be derivable wherever raw samples are kept.
        let minute_days = self.minute_days.max(self.raw_days);
        [(Tier::Raw, self.raw_days), (Tier::Minute, minute_days)].map(|(tier, days)| Cut {
            tier,
            before: start(days),
            over_budget: false,
        })
    }

    /// The next thing to drop to come back under the budget: the oldest day of
    /// raw samples, and once they are down to yesterday's, of minutes. `None`
    /// where history is within it or nothing more may go.
    #[must_use]
    pub fn by_budget(&self, usage: &Usage, zone: &SiteZone, now: Timestamp) -> Option<Cut> {
        if usage.bytes <= self.budget_bytes? {
            return None;
        }
        let newest_end = zone.day_of(now).plus(-DAYS_ALWAYS_KEPT);
        let first = usage.first_day?;
        let next = |floor: Option<Timestamp>| {
            let oldest = floor.map_or(first, |floor| zone.day_of(floor).max(first));
            (oldest < newest_end).then(|| zone.start_of(oldest.plus(1)))
        };
        let cut = |tier, before| Cut {
            tier,
            before,
            over_budget: true,
        };
        let raw = next(usage.floors.raw).map(|before| cut(Tier::Raw, before));
        raw.or_else(|| next(usage.floors.minute).map(|before| cut(Tier::Minute, before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::history::Floors;

    const RULES: RetentionRules = RetentionRules {
        raw_days: 90,
        minute_days: 365,
        budget_bytes: Some(1_000),
    };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn age_is_counted_in_local_days() {
        let zone = SiteZone::named("Asia/Shanghai").unwrap();
        let [raw, minute] = RULES.by_age(&zone, at("2026-06-01T15:59:59Z"));
        assert_eq!(raw.before, at("2026-03-02T16:00:00Z"));
        assert_eq!(minute.before, at("2025-05-31T16:00:00Z"));
        let [next, _] = RULES.by_age(&zone, at("2026-06-01T16:00:00Z"));
        assert_eq!(next.before, at("2026-03-03T16:00:00Z"));
        let careless = RetentionRules {
            minute_days: 1,
            ..RULES
        };
        let [raw, minute] = careless.by_age(&zone, at("2026-06-01T16:00:00Z"));
        assert_eq!(minute.before, raw.before);
    }

    #[test]
    fn the_budget_takes_the_oldest_day_first_and_never_yesterday() {
        let now = at("2026-06-10T12:00:00Z");
        let day = |text| SiteZone::UTC.day_of(at(text));
        let usage = |bytes, raw: Option<&str>, minute: Option<&str>| Usage {
            bytes,
            floors: Floors {
                raw: raw.map(at),
                minute: minute.map(at),
            },
            first_day: Some(day("2026-06-01T00:00:00Z")),
        };
        let cut = |usage: &Usage| {
            let cut = RULES.by_budget(usage, &SiteZone::UTC, now);
            cut.map(|it| (it.tier, it.before.to_rfc3339()))
        };
        let before = |tier, text: &str| Some((tier, text.to_owned()));
        assert_eq!(cut(&usage(1_000, None, None)), None);
        assert_eq!(
            cut(&usage(1_001, None, None)),
            before(Tier::Raw, "2026-06-02T00:00:00.000Z")
        );
        assert_eq!(
            cut(&usage(1_001, Some("2026-06-08T00:00:00Z"), None)),
            before(Tier::Raw, "2026-06-09T00:00:00.000Z")
        );
        assert_eq!(
            cut(&usage(1_001, Some("2026-06-09T00:00:00Z"), None)),
            before(Tier::Minute, "2026-06-02T00:00:00.000Z")
        );
        let bare = usage(
            1_001,
            Some("2026-06-09T00:00:00Z"),
            Some("2026-06-09T00:00:00Z"),
        );
        assert_eq!(cut(&bare), None);
        let nothing = Usage {
            first_day: None,
            ..bare
        };
        assert_eq!(cut(&nothing), None);
        let unbounded = RetentionRules {
            budget_bytes: None,
            ..RULES
        };
        let huge = usage(u64::MAX, None, None);
        assert_eq!(unbounded.by_budget(&huge, &SiteZone::UTC, now), None);
    }
}
