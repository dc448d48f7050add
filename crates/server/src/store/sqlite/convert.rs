//! Between columns and domain types.

use std::error::Error;
use std::fmt;

use dormouse_core::access::{Grant, Role, Scope};
use dormouse_core::clock::Timestamp;
use dormouse_core::secret::TokenDigest;
use rusqlite::types::Type;
use rusqlite::{Error as SqliteError, Row};

/// A stored value that the platform does not understand.
#[derive(Debug)]
struct Unreadable(&'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unreadable value in column '{}'", self.0)
    }
}

impl Error for Unreadable {}

/// The error for a value in `column` that cannot be used.
pub(super) fn unreadable(column: &'static str) -> SqliteError {
    SqliteError::FromSqlConversionFailure(0, Type::Text, Box::new(Unreadable(column)))
}

pub(super) fn time(row: &Row<'_>, column: &'static str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn time_opt(row: &Row<'_>, column: &'static str) -> rusqlite::Result<Option<Timestamp>> {
    let ms: Option<i64> = row.get(column)?;
    Ok(ms.map(Timestamp::from_millis))
}

/// The columns `role` and `scope`.
pub(super) fn grant(row: &Row<'_>) -> rusqlite::Result<Grant> {
    let (role, scope): (String, String) = (row.get("role")?, row.get("scope")?);
    Ok(Grant {
        role: Role::from_name(&role).ok_or_else(|| unreadable("role"))?,
        scope: Scope::parse(&scope).map_err(|_| unreadable("scope"))?,
    })
}

pub(super) fn digest(row: &Row<'_>) -> rusqlite::Result<TokenDigest> {
    row.get("digest").map(TokenDigest)
}
