//! Who is there, why, and how long a silence is allowed.

mod machine;

pub use machine::{Life, Machine, SessionEnd, SessionNo, Signal, Step};

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::clock::{Timestamp, rfc3339};

/// The least silence after which `auto` declares a device offline.
const AUTO_MIN: Duration = Duration::from_secs(10);
/// The longest silence that `auto` waits for.
const AUTO_MAX: Duration = Duration::from_secs(15 * 60);
/// The least grace after our own start.
const GRACE_MIN: Duration = Duration::from_secs(30);

/// Whether a device is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// Never heard of yet.
    Never,
    /// There.
    Online,
    /// Gone.
    Offline,
}

/// Why a device's presence is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PresenceReason {
    /// A message from it arrived.
    Heard,
    /// Its will was published: the connection broke.
    Will,
    /// It said goodbye itself.
    Farewell,
    /// It closed its session properly.
    Disconnect,
    /// Its session ended without a goodbye, or the broker closed it.
    Lost,
    /// The broker heard nothing from its session for 1.5 keep-alive intervals.
    Timeout,
    /// Its session was closed because its credentials were revoked.
    Revoked,
    /// Nothing was heard for longer than `offlineAfter`.
    Silence,
}

impl PresenceReason {
    /// The reason's name in the API and in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heard => "heard",
            Self::Will => "will",
            Self::Farewell => "farewell",
            Self::Disconnect => "disconnect",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Revoked => "revoked",
            Self::Silence => "silence",
        }
    }

    /// Reads a name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "heard" => Self::Heard,
            "will" => Self::Will,
            "farewell" => Self::Farewell,
            "disconnect" => Self::Disconnect,
            "lost" => Self::Lost,
            "timeout" => Self::Timeout,
            "revoked" => Self::Revoked,
            "silence" => Self::Silence,
            _ => return None,
        })
    }

    /// What told of it.
    #[must_use]
    pub const fn source(self) -> PresenceSource {
        match self {
            Self::Heard | Self::Will | Self::Farewell => PresenceSource::Device,
            Self::Disconnect | Self::Lost | Self::Timeout | Self::Revoked => {
                PresenceSource::Session
            }
            Self::Silence => PresenceSource::Deadline,
        }
    }
}

/// What told of a change of presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PresenceSource {
    /// A message or the will of the device.
    Device,
    /// The broker's word on its session.
    Session,
    /// A deadline that passed in silence.
    Deadline,
}

/// A device's presence, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Whether it is there.
    pub state: PresenceState,
    /// Since when; `null` while it was never heard of.
    #[serde(with = "rfc3339::option")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Why it is so; `null` while it was never heard of.
    pub reason: Option<PresenceReason>,
    /// What told so; `null` while it was never heard of.
    pub source: Option<PresenceSource>,
    /// When it was heard last.
    #[serde(with = "rfc3339::option")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub last_seen: Option<Timestamp>,
}

impl Presence {
    /// The presence of a device never heard of.
    pub const NEVER: Self = Self {
        state: PresenceState::Never,
        since: None,
        reason: None,
        source: None,
        last_seen: None,
    };
}

/// How long a silence makes a device offline. Written as `"auto"` or a number
/// of seconds, 1 to 86400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfflineAfter {
    /// max(10 s, 3 × its period), at most 15 min.
    #[default]
    Auto,
    /// This long, whatever the period.
    Fixed(Duration),
}

impl OfflineAfter {
    /// The silence that a device with `period` between reports is allowed.
    #[must_use]
    pub fn of(self, period: Option<Duration>) -> Duration {
        match self {
            Self::Auto => period
                .unwrap_or_default()
                .saturating_mul(3)
                .clamp(AUTO_MIN, AUTO_MAX),
            Self::Fixed(after) => after,
        }
    }

    /// How long after our own start, or the return of a broker link, a device
    /// that was online may stay unheard.
    #[must_use]
    pub fn grace(self, period: Option<Duration>) -> Duration {
        self.of(period).max(GRACE_MIN)
    }
}

impl<'de> Deserialize<'de> for OfflineAfter {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(OfflineAfterVisitor)
    }
}

struct OfflineAfterVisitor;

impl de::Visitor<'_> for OfflineAfterVisitor {
    type Value = OfflineAfter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or 1 to 86400 seconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OfflineAfter, E> {
        match text.parse() {
            _ if text == "auto" => Ok(OfflineAfter::Auto),
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<OfflineAfter, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(seconds), &self)),
        }
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<OfflineAfter, E> {
        match seconds {
            1..=86_400 => Ok(OfflineAfter::Fixed(Duration::from_secs(seconds))),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(seconds), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowed_silence_is_auto_or_seconds_in_range() {
        let read = |text: &str| serde_json::from_str::<OfflineAfter>(text).ok();
        let five = Some(OfflineAfter::Fixed(Duration::from_secs(5)));
        assert_eq!(read("\"auto\""), Some(OfflineAfter::Auto));
        assert_eq!((read("5"), read("\"5\"")), (five, five));
        for bad in ["0", "-1", "86401", "\"soon\"", "true", "\"\""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn auto_is_three_periods_within_its_bounds() {
        let auto = OfflineAfter::Auto;
        for (period_s, after_s) in [(1, 10), (5, 15), (60, 180), (300, 900), (3_600, 900)] {
            let period = Some(Duration::from_secs(period_s));
            assert_eq!(auto.of(period), Duration::from_secs(after_s), "{period_s}");
        }
        assert_eq!(auto.of(None), Duration::from_secs(10));
        assert_eq!(auto.grace(None), Duration::from_secs(30));
        assert_eq!(
            auto.grace(Some(Duration::from_secs(60))),
            Duration::from_secs(180)
        );
        let fixed = OfflineAfter::Fixed(Duration::from_secs(2));
        assert_eq!(
            fixed.of(Some(Duration::from_secs(60))),
            Duration::from_secs(2)
        );
    }
}
