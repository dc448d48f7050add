//! Times in query strings.

use dormouse_core::clock::Timestamp;
use dormouse_core::services::history::{HistoryError, InvalidRange};
use serde::{Deserialize, Deserializer, de};

use super::Problem;

/// A moment in a query: RFC 3339, or unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueryTime(pub(super) Timestamp);

impl QueryTime {
    /// Reads either form.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(ms) = text.parse() {
            return Some(Self(Timestamp::from_millis(ms)));
        }
        // An unescaped plus of an offset arrives as a space.
        let text = text.replace(' ', "+");
        Timestamp::parse_rfc3339(&text).ok().map(Self)
    }
}

impl<'de> Deserialize<'de> for QueryTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom("a time is RFC 3339, as 2026-01-31T08:00:00Z, or unix milliseconds")
        })
    }
}

impl From<InvalidRange> for Problem {
    fn from(error: InvalidRange) -> Self {
        Self::invalid(error.field, error.rule)
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::UnknownDevice(_) => Self::not_found(error.to_string()),
            HistoryError::Range(error) => error.into(),
            HistoryError::Port(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_either_form() {
        let at = Some(QueryTime(Timestamp::from_millis(1_767_323_045_000)));
        for good in [
            "1767323045000",
            "2026-01-02T03:04:05Z",
            "2026-01-02T11:04:05+08:00",
            "2026-01-02T11:04:05 08:00",
        ] {
            assert_eq!(QueryTime::parse(good), at, "{good}");
        }
        for bad in ["", "yesterday", "2026-01-02", "1e9", "9999999999999999999"] {
            assert_eq!(QueryTime::parse(bad), None, "{bad}");
        }
    }
}
