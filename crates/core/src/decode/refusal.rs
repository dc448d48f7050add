//! Why a body was refused.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// The kinds of refusal, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Over the size limit.
    TooLarge,
    /// Not JSON.
    MalformedJson,
    /// JSON of another shape, a field of another type, or one missing.
    WrongType,
    /// A value that cannot be.
    OutOfRange,
    /// A stamp too far ahead of our clock.
    TimeAhead,
    /// A stamp or age that cannot be.
    TimeImplausible,
    /// An item of an array with neither `ts` nor `ageMs`.
    TimeMissing,
    /// A sample without a measurement.
    NoMeasurement,
    /// An array that is empty or too long.
    ArrayLength,
    /// The same socket twice in one body.
    DuplicateSocket,
    /// From a device that was deleted or whose credentials were revoked.
    Revoked,
}

impl Reason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::TooLarge,
        Self::MalformedJson,
        Self::WrongType,
        Self::OutOfRange,
        Self::TimeAhead,
        Self::TimeImplausible,
        Self::TimeMissing,
        Self::NoMeasurement,
        Self::ArrayLength,
        Self::DuplicateSocket,
        Self::Revoked,
    ];

    /// The name in the API, in metrics and in acknowledgements.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::MalformedJson => "malformed-json",
            Self::WrongType => "wrong-type",
            Self::OutOfRange => "out-of-range",
            Self::TimeAhead => "time-ahead",
            Self::TimeImplausible => "time-implausible",
            Self::TimeMissing => "time-missing",
            Self::NoMeasurement => "no-measurement",
            Self::ArrayLength => "array-length",
            Self::DuplicateSocket => "duplicate-socket",
            Self::Revoked => "revoked",
        }
    }
}

/// The longest explanation that is kept, bytes; hostile bodies can make
/// parsers quote them at length.
const RULE_MAX: usize = 200;

/// Why one body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The kind.
    pub reason: Reason,
    /// The field that broke a rule, such as `sockets[1].powerW`; `body` for the whole.
    pub field: Cow<'static, str>,
    /// The rule it broke.
    pub rule: Cow<'static, str>,
}

impl Refusal {
    pub(super) fn new(
        reason: Reason,
        field: impl Into<Cow<'static, str>>,
        rule: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            reason,
            field: shortened(field.into()),
            rule: shortened(rule.into()),
        }
    }

    /// A message on a topic that only the server publishes on.
    pub(crate) const fn not_for_devices() -> Self {
        Self {
            reason: Reason::WrongType,
            field: Cow::Borrowed("topic"),
            rule: Cow::Borrowed("devices publish status, telemetry, ack and event"),
        }
    }

    /// The whole message, from a device that may not send any.
    #[must_use]
    pub const fn revoked() -> Self {
        Self {
            reason: Reason::Revoked,
            field: Cow::Borrowed("body"),
            rule: Cow::Borrowed("the device was deleted or its credentials were revoked"),
        }
    }

    /// The same, with the field named as part of item `index` of an array.
    pub(super) fn in_item(self, index: usize) -> Self {
        Self {
            field: shortened(format!("[{index}].{}", self.field).into()),
            ..self
        }
    }
}

fn shortened(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= RULE_MAX {
        return text;
    }
    let mut end = RULE_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end]).into()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.rule)
    }
}
