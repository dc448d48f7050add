//! Which column of SQLite goes where in PostgreSQL.

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
use Kind::{Bool, Bytes, Day, Json, Jsonb, Moment, Text, Uuid};

/// Every table, in the order in which they are copied: what others point to
/// comes first, what is large last.
pub(super) const TABLES: &[Table] = &[
    table(
        "settings",
        Database::Dormouse,
        "settings",
        &["name"],
        &[same("name", Text), same("value", Text)],
    ),
    table(
        "devices",
        Database::Dormouse,
        "devices",
        &["key"],
        &[
            same("key", I4),
            same("id", Text),
            same("state", Text),
            same("name", Text),
            same("location", Text),
            same("sockets", I2),
            same("period_s", I8),
            same("access", Text),
            same("salt", Bytes),
            same("hash", Bytes),
            same("version", I8),
            same("revision", I8),
            same("created_at", Moment),
        ],
    ),
    Table {
        rows: Rows::Where("reported IS NOT NULL"),
        ..table(
            "device_reports",
            Database::Dormouse,
            "devices",
            &["key"],
            &[
                c("device_key", "key", I4),
                c("received_at", "json_extract(reported, '$.at')", Moment),
                same("reported", Json),
            ],
        )
    },
    table(
        "users",
        Database::Dormouse,
        "users",
        &["id"],
        &[
            same("id", I8),
            same("name", Text),
            same("name_key", Text),
            same("role", Text),
            same("scope", Text),
            same("password_hash", Text),
            same("version", I8),
            same("created_at", Moment),
            same("last_sign_in_at", Moment),
        ],
    ),
    table(
        "sessions",
        Database::Dormouse,
        "sessions",
        &["id"],
        &[
            same("id", I8),
            same("user_id", I8),
            same("digest", Bytes),
            same("previous_digest", Bytes),
            same("csrf_token", Text),
            same("created_at", Moment),
            same("rotated_at", Moment),
            same("last_used_at", Moment),
            same("address", Text),
            same("agent", Text),
        ],
    ),
    table(
        "tokens",
        Database::Dormouse,
        "tokens",
        &["id"],
        &[
            same("id", I8),
            same("name", Text),
            same("digest", Bytes),
            same("role", Text),
            same("scope", Text),
            same("created_by", Text),
            same("created_at", Moment),
            same("expires_at", Moment),
            same("last_used_at", Moment),
        ],
    ),
    table(
        "audit",
        Database::Dormouse,
        "audit",
        &["id"],
        &[
            same("id", Uuid),
            same("ts", Moment),
            same("actor_kind", Text),
            same("actor_name", Text),
            same("address", Text),
            same("action", Text),
            same("target", Text),
            same("data", Json),
        ],
    ),
    table(
        "events",
        Database::Dormouse,
        "events",
        &["ts", "id"],
        &[
            same("id", Uuid),
            same("ts", Moment),
            same("received_at", Moment),
            same("device_key", I4),
            same("device_id", Text),
            same("socket", I2),
            same("type", Text),
            same("severity", I2),
            same("origin_kind", Text),
            same("origin_name", Text),
            same("data", Json),
        ],
    ),
    table(
        "last_presence",
        Database::Dormouse,
        "last_presence",
        &["device_key"],
        &[
            same("device_key", I4),
            same("event_id", Uuid),
            same("received_at", Moment),
        ],
    ),
    table(
        "incidents",
        Database::Dormouse,
        "incidents",
        &["started_at", "id"],
        &[
            same("id", Uuid),
            same("location", Text),
            same("started_at", Moment),
            same("ended_at", Moment),
            same("devices", Json),
        ],
    ),
    table(
        "commands",
        Database::Commands,
        "command",
        &["id"],
        &[
            same("id", Uuid),
            same("device", I4),
            same("device_id", Text),
            same("socket", I2),
            same("action", Text),
            same("off_ms", I8),
            same("timeout_ms", I8),
            same("origin", Jsonb),
            same("batch", Uuid),
            same("item", I8),
            same("created_at", Moment),
            same("deadline_at", Moment),
            same("state", Text),
            same("how", Text),
            same("reason", Text),
            same("replaced_by", Uuid),
            same("published_at", Moment),
            same("settled_at", Moment),
            same("late", Text),
            same("late_at", Moment),
        ],
    ),
    table(
        "command_batches",
        Database::Commands,
        "batch",
        &["id"],
        &[
            same("id", Uuid),
            same("action", Text),
            same("off_ms", I8),
            same("timeout_ms", I8),
            same("on_pending", Text),
            same("send_offline", Bool),
            same("origin", Jsonb),
            same("created_at", Moment),
            same("node", Text),
        ],
    ),
    table(
        "command_batch_items",
        Database::Commands,
        "batch_item",
        &["batch", "item"],
        &[
            same("batch", Uuid),
            same("item", I8),
            same("device", I4),
            same("device_id", Text),
            same("socket", I2),
            same("command", Uuid),
            same("refusal", Text),
        ],
    ),
    table(
        "idempotency_keys",
        Database::Commands,
        "idempotency_key",
        &["caller", "key"],
        &[
            same("caller", Text),
            same("key", Text),
            same("fingerprint", Bytes),
            same("command", Uuid),
            same("batch", Uuid),
            same("used_at", Moment),
        ],
    ),
    table(
        "periods",
        Database::History,
        "periods",
        &["device", "since"],
        &[same("device", I4), same("since", I8), same("period_ms", I8)],
    ),
    table(
        "intake",
        Database::History,
        "inboxes",
        &["device"],
        &[
            same("device", I4),
            c("version", "1", I8),
            c("inbox", "state", Bytes),
        ],
    ),
    table(
        "days",
        Database::History,
        "days",
        &["at"],
        &rollup(
            c("day", "at >> 23", Day),
            c("device", "(at & 8388607) / 33", I4),
            c("socket", "(at & 8388607) % 33", I2),
        ),
    ),
    Table {
        by_time: Some(0),
        ..table(
            "quarters",
            Database::History,
            "quarters",
            &["at"],
            &QUARTERS,
        )
    },
    Table {
        by_time: Some(0),
        ..table(
            "minutes",
            Database::History,
            "minutes",
            &["at"],
            &rollup(
                c("ts", "(at & 67108863) * 60000 + 1577836800000", Moment),
                c("device", "(at >> 26) / 33", I4),
                c("socket", "(at >> 26) % 33", I2),
            ),
        )
    },
    Table {
        rows: Rows::BeforeFloor,
        ..table("remnants", Database::History, "samples", &["at"], &SAMPLES)
    },
    Table {
        rows: Rows::FromFloor,
        by_time: Some(0),
        ..table("samples", Database::History, "samples", &["at"], &SAMPLES)
    },
];

/// A quarter-hour is an hour and a number from 0 to 3.
const QUARTERS: [Column; 15] = {
    let rest = rollup(
        c(
            "hour",
            "((at & 67108863) / 4) * 3600000 + 1577836800000",
            Moment,
        ),
        c("device", "(at >> 26) / 33", I4),
        c("socket", "(at >> 26) % 33", I2),
    );
    let mut all = [c("quarter", "(at & 67108863) % 4", I2); 15];
    let mut at = 0;
    while at < rest.len() {
        all[at] = rest[at];
        at += 1;
    }
    all
};

const SAMPLES: [Column; 8] = [
    c("ts", "(at & 2199023255551) + 1577836800000", Moment),
    c("device", "((at >> 41) & 8388607) / 33", I4),
    c("socket", "((at >> 41) & 8388607) % 33", I2),
    same("power_dw", I4),
    c("voltage_dv", "voltage_off_dv + 2300", I2),
    same("current_ma", I4),
    same("energy_dwh", I8),
    same("power_factor_centi", I2),
];

/// The columns of a rollup behind its key.
const fn rollup(at: Column, device: Column, socket: Column) -> [Column; 14] {
    [
        at,
        device,
        socket,
        same("count", I4),
        same("covered_ms", I4),
        same("power_dwms", I8),
        same("power_min_dw", I4),
        same("power_max_dw", I4),
        same("metered_dwh", I8),
        same("bridged_dwh", I8),
        same("reset_dwh", I8),
        same("rolled_back_dwh", I8),
        same("implausible_dwh", I8),
        same("integrated_dwms", I8),
    ]
}

/// Tables whose keys are counted up: the next one must be above all that ever
/// were.
pub(super) const COUNTED: [(&str, &str); 4] = [
    ("devices", "key"),
    ("users", "id"),
    ("sessions", "id"),
    ("tokens", "id"),
];
