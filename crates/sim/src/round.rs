//! Numbers as a meter prints them, and the only float-to-integer conversions.

/// `value` with `digits` decimals, as firmware prints it.
pub(crate) fn decimals(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

/// The nearest whole number from 0 to `u64::MAX`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is the documented result"
)]
pub(crate) fn to_u64(value: f64) -> u64 {
    value.round() as u64
}

/// A count of milliseconds as a number to calculate with.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact to 285,000 years of milliseconds"
)]
pub(crate) fn from_ms(ms: u64) -> f64 {
    ms as f64
}

/// The nearest whole number that fits an `i64`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates, which is the documented result"
)]
pub(crate) fn to_i64(value: f64) -> i64 {
    value.round() as i64
}
