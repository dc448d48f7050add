//! Between columns and domain types.

use std::error::Error;

use dormouse_core::access::{Grant, Role, Scope};
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::secret::TokenDigest;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use super::pool::get;

/// 2000-01-01, where PostgreSQL counts from, in unix milliseconds.
const EPOCH_MS: i64 = 946_684_800_000;

/// A [`Timestamp`] as `timestamptz`. What lies beyond the column's range is
/// kept as its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl ToSql for Moment {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let micros = self
            .0
            .as_millis()
            .saturating_sub(EPOCH_MS)
            .saturating_mul(1_000);
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        let ms = micros.div_euclid(1_000).saturating_add(EPOCH_MS);
        Ok(Self(Timestamp::from_millis(ms)))
    }

    accepts!(TIMESTAMPTZ);
}

pub(super) fn time(row: &Row, column: &str) -> Result<Timestamp, PortError> {
    get(row, column).map(|Moment(at)| at)
}

pub(super) fn time_opt(row: &Row, column: &str) -> Result<Option<Timestamp>, PortError> {
    let at: Option<Moment> = get(row, column)?;
    Ok(at.map(|Moment(at)| at))
}

/// A device's key as `int4`.
pub(crate) const fn key_sql(key: DeviceKey) -> i32 {
    key.0.cast_signed()
}

/// A device's key from `int4`.
pub(crate) const fn key_from(sql: i32) -> DeviceKey {
    DeviceKey(sql.cast_unsigned())
}

/// The error for a value in `column` that cannot be used.
pub(super) fn unreadable(column: &str) -> PortError {
    PortError::Corrupt(format!("unreadable value in column '{column}'"))
}

/// Text that PostgreSQL can keep: it has no null characters.
pub(super) fn storable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}

/// JSON that `jsonb` can keep: no text in it has null characters.
pub(super) fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(cleaned).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (storable(&name).into_owned(), cleaned(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// The columns `role` and `scope`.
pub(super) fn grant(row: &Row) -> Result<Grant, PortError> {
    let (role, scope): (&str, &str) = (get(row, "role")?, get(row, "scope")?);
    Ok(Grant {
        role: Role::from_name(role).ok_or_else(|| unreadable("role"))?,
        scope: Scope::parse(scope).map_err(|_| unreadable("scope"))?,
    })
}

pub(super) fn digest(row: &Row) -> Result<TokenDigest, PortError> {
    let bytes: &[u8] = get(row, "digest")?;
    bytes
        .try_into()
        .map(TokenDigest)
        .map_err(|_| unreadable("digest"))
}

/// A number of rows as `int8`.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
