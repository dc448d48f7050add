//! Rows on their way from one engine to the other.

use anyhow::{Context, bail};
use rusqlite::types::{Value, ValueRef};
use tokio_postgres::types::ToSql;

use super::kind::Wire;
use super::tables::Column;

/// Rows of one table, by column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Batch {
    pub(super) columns: Vec<Values>,
    pub(super) rows: usize,
    /// The last row's key, to go on from.
    pub(super) last: String,
}

/// One column of a [`Batch`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Batch {
    /// An empty one with room for `rows`.
    pub(super) fn new(columns: &[Column], rows: usize) -> Self {
        let empty = |column: &Column| match column.kind.wire() {
            Wire::Int => Values::Int(Vec::with_capacity(rows)),
            Wire::Text => Values::Text(Vec::with_capacity(rows)),
            Wire::Bytes => Values::Bytes(Vec::with_capacity(rows)),
        };
        Self {
            columns: columns.iter().map(empty).collect(),
            rows: 0,
            last: String::new(),
        }
    }
}

impl Values {
    /// As a parameter of a statement.
    pub(super) fn sent(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(values) => values,
            Self::Text(values) => values,
            Self::Bytes(values) => values,
        }
    }

    pub(super) fn push(&mut self, value: ValueRef<'_>) -> anyhow::Result<()> {
        let text = |bytes: &[u8]| -> anyhow::Result<String> {
            // PostgreSQL keeps no null characters.
            Ok(std::str::from_utf8(bytes)?.replace('\0', "\u{fffd}"))
        };
        match (self, value) {
            (Self::Int(values), ValueRef::Null) => values.push(None),
            (Self::Text(values), ValueRef::Null) => values.push(None),
            (Self::Bytes(values), ValueRef::Null) => values.push(None),
            (Self::Int(values), ValueRef::Integer(value)) => values.push(Some(value)),
            (Self::Text(values), ValueRef::Text(value)) => values.push(Some(text(value)?)),
            (Self::Bytes(values), ValueRef::Blob(value)) => values.push(Some(value.to_vec())),
            (_, other) => bail!(
                "a value of type {} where another belongs",
                other.data_type()
            ),
        }
        Ok(())
    }
}

pub(super) fn key_text(key: &[Value]) -> String {
    let part = |value: &Value| match value {
        Value::Integer(number) => serde_json::json!(number),
        Value::Blob(bytes) => serde_json::json!({ "bytes": bytes }),
        Value::Text(text) => serde_json::json!(text),
        Value::Null | Value::Real(_) => serde_json::Value::Null,
    };
    serde_json::Value::Array(key.iter().map(part).collect()).to_string()
}

pub(super) fn parse_key(text: &str) -> anyhow::Result<Vec<Value>> {
    let broken = || format!("the place to go on from cannot be read: {text}");
    let parts: Vec<serde_json::Value> = serde_json::from_str(text).with_context(broken)?;
    let part = |part: serde_json::Value| match part {
        serde_json::Value::Number(number) => number.as_i64().map(Value::Integer),
        serde_json::Value::String(text) => Some(Value::Text(text)),
        serde_json::Value::Object(mut it) => {
            let bytes = it.remove("bytes")?;
            serde_json::from_value(bytes).ok().map(Value::Blob)
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Array(_) => None,
    };
    let key: Option<Vec<_>> = parts.into_iter().map(part).collect();
    key.with_context(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_both_ways() {
        for key in [
            vec![Value::Integer(-5)],
            vec![Value::Blob(vec![0, 255]), Value::Integer(i64::MAX)],
            vec![Value::Text("a\"b".to_owned()), Value::Text(String::new())],
        ] {
            assert_eq!(parse_key(&key_text(&key)).unwrap(), key);
        }
        assert!(parse_key("[null]").is_err());
        assert!(parse_key("nothing").is_err());
    }
}
