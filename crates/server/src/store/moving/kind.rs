//! How values travel from one engine to the other.

/// How a column travels and what it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number of the named type; what does not fit is kept as the nearest.
    Int(&'static str),
    /// Milliseconds since 1970.
    Moment,
    /// Days since 1970.
    Day,
    /// 0 or 1.
    Bool,
    /// Text.
    Text,
    /// JSON as it is.
    Json,
    /// JSON that may hold no null characters.
    Jsonb,
    /// Bytes.
    Bytes,
    /// Sixteen bytes.
    Uuid,
}

/// What a column is sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// `int8`.
    Int,
    /// `text`.
    Text,
    /// `bytea`.
    Bytes,
}

impl Kind {
    pub(super) const fn wire(self) -> Wire {
        match self {
            Self::Int(_) | Self::Moment | Self::Day | Self::Bool => Wire::Int,
            Self::Text | Self::Json | Self::Jsonb => Wire::Text,
            Self::Bytes | Self::Uuid => Wire::Bytes,
        }
    }

    /// The expression that makes the target's value of `sent`.
    pub(super) fn value(self, sent: &str) -> String {
        match self {
            Self::Int("int2") => narrow(sent, "int2", i16::MIN.into(), i16::MAX.into()),
            Self::Int("int4") => narrow(sent, "int4", i32::MIN.into(), i32::MAX.into()),
            Self::Int(_) | Self::Text | Self::Bytes => sent.to_owned(),
            Self::Moment => format!("timestamptz 'epoch' + {sent} * interval '1 millisecond'"),
            Self::Day => format!("date '1970-01-01' + {sent}::int4"),
            Self::Bool => format!("{sent} <> 0"),
            Self::Json => format!("{sent}::json"),
            Self::Jsonb => format!("replace({sent}, '\\u0000', '\\ufffd')::jsonb"),
            Self::Uuid => format!("encode({sent}, 'hex')::uuid"),
        }
    }
}

/// The nearest value of type `to`. Null stays null, which `least` and
/// `greatest` would pass over.
fn narrow(sent: &str, to: &str, min: i64, max: i64) -> String {
    format!("CASE WHEN {sent} IS NOT NULL THEN least(greatest({sent}, {min}), {max})::{to} END")
}
