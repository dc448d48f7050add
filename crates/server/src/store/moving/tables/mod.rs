//! Which column of SQLite goes where in PostgreSQL.

mod commands;
mod history;
mod site;

use super::kind::Kind;
use crate::store::sqlite::Database;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its name in PostgreSQL.
    pub(super) name: &'static str,
    /// The expression in SQLite.
    pub(super) from: &'static str,
    pub(super) kind: Kind,
}

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    All,
    /// Those that hold this condition.
    Where(&'static str),
    /// Samples from before the floor of raw samples, which only judge what
    /// comes next.
    BeforeFloor,
    /// Samples that people see.
    FromFloor,
}

/// One table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    /// Its name in PostgreSQL, and the step's.
    pub(super) name: &'static str,
    pub(super) database: Database,
    /// Its name in SQLite.
    pub(super) from: &'static str,
    /// The columns by which its rows are read in order.
    pub(super) key: &'static [&'static str],
    pub(super) rows: Rows,
    /// The column (unix ms) by which the target is cut into parts.
    pub(super) by_time: Option<usize>,
    pub(super) columns: &'static [Column],
}

const fn c(name: &'static str, from: &'static str, kind: Kind) -> Column {
    Column { name, from, kind }
}

const fn same(name: &'static str, kind: Kind) -> Column {
    c(name, name, kind)
}

const fn table(
    name: &'static str,
    database: Database,
    from: &'static str,
    key: &'static [&'static str],
    columns: &'static [Column],
) -> Table {
    Table {
        name,
        database,
        from,
        key,
        rows: Rows::All,
        by_time: None,
        columns,
    }
}

const I2: Kind = Kind::Int("int2");
const I4: Kind = Kind::Int("int4");
const I8: Kind = Kind::Int("int8");

/// Every table, in the order in which they are copied: what others point to
/// comes first, what is large last.
pub(super) fn tables() -> impl Iterator<Item = &'static Table> {
    let all = [site::TABLES, commands::TABLES, history::TABLES];
    all.into_iter().flatten()
}

/// Tables whose keys are counted up: the next one must be above all that ever
/// were.
pub(super) const COUNTED: [(&str, &str); 4] = [
    ("devices", "key"),
    ("users", "id"),
    ("sessions", "id"),
    ("tokens", "id"),
];
