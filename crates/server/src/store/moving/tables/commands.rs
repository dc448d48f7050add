//! What `commands.db` holds.

use super::{I2, I4, I8, Table, same, table};
use crate::store::moving::kind::Kind::{Bool, Bytes, Jsonb, Moment, Text, Uuid};
use crate::store::sqlite::Database;

pub(super) const TABLES: &[Table] = &[
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
];
