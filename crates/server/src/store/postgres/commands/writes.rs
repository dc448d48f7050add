//! The dispatcher's writes as one statement.

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{Batch, Command, OnPending, Progress};
use dormouse_core::ids::{BatchId, CommandId};
use dormouse_core::ports::{
    CommandWrite, CommandWritten, IdempotencyKey, Made, PortError, Remembered,
};
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::convert::{key_sql, storable, unreadable};
use super::super::pool::get;
use super::row::command_of;
use crate::store::commands::{StateColumns, action_name, on_pending_name, outcome_name};

/// What `dormouse_commit_commands` takes.
pub(super) fn as_json(write: &CommandWrite) -> Value {
    match write {
        CommandWrite::Insert {
            command,
            on_pending,
            key,
        } => with_key(insert(command, *on_pending), key.as_ref()),
        CommandWrite::Settle { id, progress } => settle(*id, progress),
        CommandWrite::NoteLate { id, late } => json!({
            "kind": "late",
            "id": id.0,
            "late": outcome_name(late.outcome),
            "late_at": late.at.to_rfc3339(),
        }),
        CommandWrite::CreateBatch { batch, key } => with_key(create(batch), key.as_ref()),
        CommandWrite::RefuseItem { item, refusal } => json!({
            "kind": "refuse",
            "batch": item.batch.0,
            "item": item.item,
            "refusal": refusal.name(),
        }),
    }
}

fn with_key(mut write: Value, key: Option<&IdempotencyKey>) -> Value {
    if let Some(key) = key {
        let fingerprint: String = key
            .fingerprint
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect();
        write["key"] = json!({
            "caller": storable(&key.caller),
            "key": storable(&key.key),
            "fingerprint": fingerprint,
            "used_at": key.used_at.to_rfc3339(),
            "since": key.since.to_rfc3339(),
        });
    }
    write
}

fn insert(command: &Command, on_pending: OnPending) -> Value {
    json!({
        "kind": "insert",
        "replace": on_pending == OnPending::Replace,
        "command": {
            "id": command.id.0,
            "device": key_sql(command.device),
            "device_id": command.device_id.as_str(),
            "socket": command.socket.get(),
            "action": action_name(command.order.action),
            "off_ms": command.order.off_ms,
            "timeout_ms": command.order.timeout_ms,
            "origin": command.origin,
            "batch": command.batch.map(|it| it.batch.0),
            "item": command.batch.map(|it| it.item),
            "created_at": command.created_at.to_rfc3339(),
            "deadline_at": command.deadline_at.to_rfc3339(),
            "state": "pending",
        },
    })
}

fn settle(id: CommandId, progress: &Progress) -> Value {
    let columns = StateColumns::from(&progress.state);
    json!({
        "kind": "settle",
        "id": id.0,
        "state": columns.state,
        "how": columns.how,
        "reason": columns.reason.map(storable),
        "replaced_by": columns.replaced_by,
        "published_at": progress.published_at.map(Timestamp::to_rfc3339),
        "settled_at": progress.settled_at.map(Timestamp::to_rfc3339),
    })
}

fn create(batch: &Batch) -> Value {
    let targets: Vec<Value> = batch
        .targets
        .iter()
        .map(|it| json!([key_sql(it.device), it.device_id.as_str(), it.socket.get()]))
        .collect();
    json!({
        "kind": "batch",
        "batch": batch.id.0,
        "head": {
            "id": batch.id.0,
            "action": action_name(batch.order.action),
            "off_ms": batch.order.off_ms,
            "timeout_ms": batch.order.timeout_ms,
            "on_pending": on_pending_name(batch.on_pending),
            "send_offline": batch.send_offline,
            "origin": batch.origin,
            "created_at": batch.created_at.to_rfc3339(),
            "node": &*batch.node.0,
        },
        "targets": targets,
    })
}

/// Reads what became of `count` writes.
pub(super) fn read(rows: &[Row], count: usize) -> Result<Vec<CommandWritten>, PortError> {
    let mut written: Vec<Option<CommandWritten>> = vec![None; count];
    for row in rows {
        let at: i32 = get(row, "o_write")?;
        let at = usize::try_from(at).map_err(|_| unreadable("o_write"))?;
        let slot = written.get_mut(at).ok_or_else(|| unreadable("o_write"))?;
        let next = match (get(row, "o_outcome")?, slot.take()) {
            ("done", None) => CommandWritten::Done,
            ("done", before) => before.unwrap_or(CommandWritten::Done),
            ("replaced", Some(CommandWritten::Replaced(mut commands))) => {
                commands.push(command_of(row)?);
                CommandWritten::Replaced(commands)
            }
            ("replaced", _) => CommandWritten::Replaced(vec![command_of(row)?]),
            ("busy", Some(CommandWritten::Busy(mut commands))) => {
                commands.push(command_of(row)?);
                CommandWritten::Busy(commands)
            }
            ("busy", _) => CommandWritten::Busy(vec![command_of(row)?]),
            ("remembered", _) => CommandWritten::Remembered(remembered(row)?),
            ("unchanged", _) => {
                let id: Option<Uuid> = get(row, "id")?;
                let current = id.map(|_| command_of(row)).transpose()?;
                CommandWritten::Unchanged(current.map(Box::new))
            }
            _ => return Err(unreadable("o_outcome")),
        };
        *slot = Some(next);
    }
    let all: Option<Vec<_>> = written.into_iter().collect();
    all.ok_or_else(|| unreadable("o_write"))
}

/// The columns `fingerprint`, `made_command` and `made_batch`.
pub(super) fn remembered(row: &Row) -> Result<Remembered, PortError> {
    let fingerprint: &[u8] = get(row, "fingerprint")?;
    let command: Option<Uuid> = get(row, "made_command")?;
    let batch: Option<Uuid> = get(row, "made_batch")?;
    let made = match (command, batch) {
        (Some(id), None) => Made::Command(CommandId(id)),
        (None, Some(id)) => Made::Batch(BatchId(id)),
        (Some(_), Some(_)) | (None, None) => return Err(unreadable("made_command")),
    };
    Ok(Remembered {
        fingerprint: fingerprint
            .try_into()
            .map_err(|_| unreadable("fingerprint"))?,
        made,
    })
}
