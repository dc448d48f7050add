//! From a body on the wire to checked values, or to the reason why not.
//!
//! Total: any bytes give a value or a [`Refusal`], never a panic. Values out
//! of this module keep every rule of the device contract; only the time of a
//! sample that carries none is still to be given (by [`crate::services::ingest`]).

mod control;
mod refusal;
mod telemetry;
#[cfg(test)]
mod tests;

pub use control::{Ack, DeviceEvent, Sequence, Status, decode_ack, decode_event, decode_status};
pub use refusal::{Reason, Refusal};
pub use telemetry::{Reading, decode_telemetry};

use serde::de::DeserializeOwned;

use crate::clock::Timestamp;

/// The largest body that is read, bytes.
pub const BODY_MAX: usize = 32 * 1024;
/// The most samples in one message.
pub const ARRAY_MAX: usize = 100;
/// How far a device's clock may be ahead, ms.
pub const AHEAD_MAX_MS: i64 = 5 * 60 * 1000;
/// How old a reading may be by its `ageMs`, ms: a year.
pub const AGE_MAX_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// Stamps before 2020-01-01 come from clocks that were never set, or count
/// seconds.
pub const EARLIEST: Timestamp = Timestamp::from_millis(1_577_836_800_000);

/// When something was measured or happened, as its device tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceTime {
    /// By the device's clock.
    At(Timestamp),
    /// By our clock, less the age the device gave.
    Aged(Timestamp),
    /// Now, as far as the device knows.
    Unknown,
}

impl DeviceTime {
    /// Checks `ts` and `ageMs` of one item; `ts` wins where both are there.
    fn parse(
        ts: Option<i64>,
        age_ms: Option<u64>,
        received_at: Timestamp,
    ) -> Result<Self, Refusal> {
        if let Some(ts) = ts {
            let at = Timestamp::from_millis(ts);
            if ts > received_at.as_millis().saturating_add(AHEAD_MAX_MS) {
                return Err(Refusal::new(
                    Reason::TimeAhead,
                    "ts",
                    "more than 5 min ahead of the server's clock",
                ));
            }
            if at < EARLIEST {
                return Err(Refusal::new(
                    Reason::TimeImplausible,
                    "ts",
                    "before 2020: unix milliseconds are expected",
                ));
            }
            return Ok(Self::At(at));
        }
        let Some(age_ms) = age_ms else {
            return Ok(Self::Unknown);
        };
        match i64::try_from(age_ms) {
            Ok(age) if age_ms <= AGE_MAX_MS => Ok(Self::Aged(Timestamp::from_millis(
                received_at.as_millis().saturating_sub(age),
            ))),
            _ => Err(Refusal::new(
                Reason::TimeImplausible,
                "ageMs",
                "more than 366 days",
            )),
        }
    }
}

/// Tries a body as everything it could be; what a fuzzer calls.
pub fn decode_all(body: &[u8], received_at: Timestamp) {
    // Only that each of them returns matters here.
    decode_telemetry(body, received_at).ok();
    decode_status(body).ok();
    decode_ack(body).ok();
    decode_event(body, received_at).ok();
}

/// Parses one body. The path of what does not fit is looked for only after a
/// failure, so that good bodies do not pay for it.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    if body.len() > BODY_MAX {
        return Err(Refusal::new(Reason::TooLarge, "body", "more than 32 KiB"));
    }
    serde_json::from_slice(body).map_err(|error| explain::<T>(body, &error))
}

#[cold]
fn explain<T: DeserializeOwned>(body: &[u8], error: &serde_json::Error) -> Refusal {
    if !error.is_data() {
        return Refusal::new(Reason::MalformedJson, "body", error.to_string());
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => Refusal::new(Reason::WrongType, "body", error.to_string()),
        Err(found) => {
            let path = found.path().to_string();
            let field = if path == "." { "body".to_owned() } else { path };
            Refusal::new(Reason::WrongType, field, found.into_inner().to_string())
        }
    }
}

/// Checks a text that a device sends for people to read.
fn text(field: &'static str, value: Option<String>, max: usize) -> Result<Option<String>, Refusal> {
    match value {
        Some(value) if value.len() > max => Err(Refusal::new(
            Reason::OutOfRange,
            field,
            format!("longer than {max} bytes"),
        )),
        Some(value) if value.contains(char::is_control) => Err(Refusal::new(
            Reason::OutOfRange,
            field,
            "contains control characters",
        )),
        value => Ok(value),
    }
}
