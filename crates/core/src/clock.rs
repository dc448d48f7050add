//! Time as a value: wall-clock stamps and a monotonic clock beside them.

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps `ms` milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, as the API writes times.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0)
            .map_or_else(|_| String::from("out-of-range"), |at| format!("{at:.3}"))
    }

    /// Parses RFC 3339 with any offset.
    ///
    /// # Errors
    /// When `text` is not such a time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        let at: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        Ok(Self(at.as_millisecond()))
    }
}

/// For `#[serde(with = "rfc3339")]`: a [`Timestamp`] as the API writes times.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Timestamp;

    /// Writes `at`.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.to_rfc3339())
    }

    /// Reads a time with any offset.
    ///
    /// # Errors
    /// When it is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(source)?;
        Timestamp::parse_rfc3339(&text).map_err(de::Error::custom)
    }

    /// The same for times that may be absent.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer, de};

        use super::Timestamp;

        /// Writes `at`, or `null`.
        ///
        /// # Errors
        /// When the serializer fails.
        pub fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads a time with any offset, or `null`.
        ///
        /// # Errors
        /// When it is neither.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            source: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Option::<String>::deserialize(source)?
                .map(|text| Timestamp::parse_rfc3339(&text).map_err(de::Error::custom))
                .transpose()
        }
    }
}

/// A text that is not an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-01-31T08:00:00Z")]
pub struct InvalidTimestamp;

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(millis(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(millis(rhs)))
    }
}

/// A point on the process's monotonic clock: comparable only with others of
/// the same process, and untouched by jumps of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The point `elapsed` after the process's origin.
    #[must_use]
    pub const fn from_origin(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The time since the process's origin.
    #[must_use]
    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to `self`; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(rhs))
    }
}

/// Where services read the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock; may jump either way.
    fn now(&self) -> Timestamp;

    /// The monotonic clock; deadlines in this process are kept on it.
    fn instant(&self) -> Instant;
}

/// A clock that moves only when a test says so.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        let clock = Self::default();
        clock.wall_ms.store(now.as_millis(), Ordering::Relaxed);
        clock
    }

    /// Moves both clocks forward by `step`.
    pub fn advance(&self, step: Duration) {
        self.wall_ms.fetch_add(millis(step), Ordering::Relaxed);
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        self.monotonic_ms.fetch_add(step_ms, Ordering::Relaxed);
    }

    /// Sets the wall clock, as an administrator or NTP may.
    pub fn jump_to(&self, now: Timestamp) {
        self.wall_ms.store(now.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall_ms.load(Ordering::Relaxed))
    }

    fn instant(&self) -> Instant {
        Instant(Duration::from_millis(
            self.monotonic_ms.load(Ordering::Relaxed),
        ))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_in_utc() {
        let at = Timestamp::from_millis(1_767_323_045_123);
        assert_eq!(at.to_rfc3339(), "2026-01-02T03:04:05.123Z");
        assert_eq!(
            Timestamp::parse_rfc3339("2026-01-02T11:04:05.123+08:00"),
            Ok(at)
        );
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), Err(InvalidTimestamp));
    }

    #[test]
    fn a_jump_of_the_wall_clock_leaves_the_monotonic_one_alone() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(5));
        clock.jump_to(Timestamp::from_millis(1_000_000));
        assert_eq!(
            clock.instant(),
            Instant::from_origin(Duration::from_secs(5))
        );
        assert_eq!(clock.now(), Timestamp::from_millis(1_000_000));
    }
}
