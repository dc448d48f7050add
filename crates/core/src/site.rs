//! The site's civil time: which local day a moment belongs to.

use std::ops::Range;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// The site's time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteZone(TimeZone);

/// A local day, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDay(i32);

/// Answers which day, quickly while the answer stays the same.
#[derive(Debug, Clone)]
pub struct Days {
    zone: SiteZone,
    current: Option<(LocalDay, Range<Timestamp>)>,
}

/// A text that names no time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IANA time zone such as \"Asia/Shanghai\"")]
pub struct UnknownZone;

const EPOCH: Date = jiff::civil::date(1970, 1, 1);
const HOUR_S: i32 = 3_600;

impl SiteZone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// The zone with this IANA name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        TimeZone::get(name).map(Self).map_err(|_| UnknownZone)
    }

    /// The zone's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The local day that `ts` belongs to.
    #[must_use]
    pub fn day_of(&self, ts: Timestamp) -> LocalDay {
        LocalDay::of(self.0.to_datetime(instant(ts)).date())
    }

    /// The first moment of `day`: midnight, or what comes after it where
    /// midnight is skipped.
    #[must_use]
    pub fn start_of(&self, day: LocalDay) -> Timestamp {
        let start = day
            .date()
            .to_zoned(self.0.clone())
            .and_then(|midnight| midnight.start_of_day());
        start.map_or_else(
            |_| Timestamp::from_millis(i64::from(day.0).saturating_mul(86_400_000)),
            |start| Timestamp::from_millis(start.timestamp().as_millisecond()),
        )
    }

    /// From the first moment of `day` to the first of the next.
    #[must_use]
    pub fn range_of(&self, day: LocalDay) -> Range<Timestamp> {
        self.start_of(day)..self.start_of(day.plus(1))
    }

    /// The start of the local hour that holds `ts`; zones off by half an hour
    /// have their own.
    #[must_use]
    pub fn hour_start(&self, ts: Timestamp) -> Timestamp {
        let offset_s = self.0.to_offset(instant(ts)).seconds() % HOUR_S;
        let local_ms = ts.as_millis() + i64::from(offset_s) * 1_000;
        Timestamp::from_millis(ts.as_millis() - local_ms.rem_euclid(i64::from(HOUR_S) * 1_000))
    }
}

impl Days {
    /// Answers for `zone`.
    #[must_use]
    pub const fn new(zone: SiteZone) -> Self {
        Self {
            zone,
            current: None,
        }
    }

    /// The local day that `ts` belongs to, and its first moment.
    pub fn day_of(&mut self, ts: Timestamp) -> (LocalDay, Timestamp) {
        if let Some((day, range)) = &self.current
            && range.contains(&ts)
        {
            return (*day, range.start);
        }
        let day = self.zone.day_of(ts);
        let range = self.zone.range_of(day);
        let start = range.start;
        self.current = Some((day, range));
        (day, start)
    }
}

impl LocalDay {
    /// The day with this number, counted from 1970-01-01.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Its number, counted from 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// The day `days` later, or earlier where negative.
    #[must_use]
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    fn of(date: Date) -> Self {
        Self(EPOCH.until(date).map_or(0, |span| span.get_days()))
    }

    fn date(self) -> Date {
        let span = jiff::Span::new().try_days(self.0).unwrap_or_default();
        EPOCH.saturating_add(span)
    }
}

fn instant(ts: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(ts.as_millis()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn day_length_h(zone: &str, noon: &str) -> i64 {
        let zone = SiteZone::named(zone).unwrap();
        let day = zone.day_of(at(noon));
        let (start, end) = (zone.start_of(day), zone.start_of(day.plus(1)));
        assert_eq!(zone.day_of(start), day);
        assert_eq!(
            zone.day_of(Timestamp::from_millis(end.as_millis() - 1)),
            day
        );
        assert_eq!(zone.day_of(end), day.plus(1));
        (end.as_millis() - start.as_millis()) / 3_600_000
    }

    #[test]
    fn local_days_are_as_long_as_the_clocks_make_them() {
        assert_eq!(day_length_h("Asia/Shanghai", "2026-03-29T04:00:00Z"), 24);
        assert_eq!(day_length_h("Europe/Berlin", "2026-03-29T10:00:00Z"), 23);
        assert_eq!(day_length_h("Europe/Berlin", "2026-10-25T10:00:00Z"), 25);
        // Midnight itself is skipped.
        assert_eq!(day_length_h("Africa/Cairo", "2026-04-24T10:00:00Z"), 23);
    }

    #[test]
    fn hours_follow_zones_off_by_a_fraction() {
        let ts = at("2026-01-02T03:44:05Z");
        let start = |zone: &str| SiteZone::named(zone).unwrap().hour_start(ts).to_rfc3339();
        assert_eq!(start("UTC"), "2026-01-02T03:00:00.000Z");
        assert_eq!(start("America/New_York"), "2026-01-02T03:00:00.000Z");
        assert_eq!(start("Asia/Kolkata"), "2026-01-02T03:30:00.000Z");
        assert_eq!(start("Asia/Kathmandu"), "2026-01-02T03:15:00.000Z");
        assert_eq!(start("America/St_Johns"), "2026-01-02T03:30:00.000Z");
    }

    #[test]
    fn no_zone_no_guess() {
        assert_eq!(SiteZone::named("Mars/Base"), Err(UnknownZone));
    }
}
