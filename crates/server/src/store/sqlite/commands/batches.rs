//! Batches and their items.

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{Batch, BatchItem, BatchReport, ItemResult, Refusal, Target};
use dormouse_core::ids::{BatchId, CommandId, DeviceKey};
use dormouse_core::ports::nodes::NodeId;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::store::commands::{action_name, on_pending_name};

use super::row::{
    COLUMN_COUNT, COLUMNS, bad, command_of, device_id_of, on_pending_of, order_of, origin_of,
    origin_text, socket_of,
};

pub(super) fn create(db: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO batch (id, action, off_ms, timeout_ms, on_pending, send_offline, origin,
                            created_at, node)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        batch.id.0,
        action_name(batch.order.action),
        batch.order.off_ms,
        batch.order.timeout_ms,
        on_pending_name(batch.on_pending),
        batch.send_offline,
        origin_text(&batch.origin),
        batch.created_at.as_millis(),
        &*batch.node.0,
    ])?;
    let mut statement =
        db.prepare_cached("INSERT INTO batch_item VALUES (?1, ?2, ?3, ?4, ?5, NULL, NULL)")?;
    for (target, item) in batch.targets.iter().zip(0_u32..) {
        statement.execute(params![
            batch.id.0,
            item,
            target.device.0,
            target.device_id.as_str(),
            target.socket.get(),
        ])?;
    }
    Ok(())
}

pub(super) fn sent(db: &Connection, item: BatchItem, command: CommandId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE batch_item SET command = ?3
         WHERE batch = ?1 AND item = ?2 AND command IS NULL AND refusal IS NULL",
    )?
    .execute(params![item.batch.0, item.item, command.0])?;
    Ok(())
}

pub(super) fn refuse(db: &Connection, item: BatchItem, refusal: Refusal) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE batch_item SET refusal = ?3
         WHERE batch = ?1 AND item = ?2 AND command IS NULL AND refusal IS NULL",
    )?
    .execute(params![item.batch.0, item.item, refusal.name()])?;
    Ok(())
}

pub(super) fn waiting_nodes(db: &Connection) -> rusqlite::Result<Vec<NodeId>> {
    db.prepare(
        "SELECT DISTINCT node FROM batch WHERE id IN (
             SELECT batch FROM batch_item WHERE command IS NULL AND refusal IS NULL)",
    )?
    .query_map([], |row| Ok(NodeId(row.get::<_, String>(0)?.into())))?
    .collect()
}

pub(super) fn interrupt(db: &Connection, nodes: &[NodeId]) -> rusqlite::Result<usize> {
    let mut statement = db.prepare(
        "UPDATE batch_item SET refusal = ?1
         WHERE command IS NULL AND refusal IS NULL
           AND batch IN (SELECT id FROM batch WHERE node = ?2)",
    )?;
    let mut interrupted = 0;
    for node in nodes {
        interrupted += statement.execute(params![Refusal::Interrupted.name(), &*node.0])?;
    }
    Ok(interrupted)
}

pub(super) fn report(db: &Connection, id: BatchId) -> rusqlite::Result<Option<BatchReport>> {
    let head = db
        .prepare_cached(
            "SELECT action, off_ms, timeout_ms, on_pending, send_offline, origin, created_at, node
             FROM batch WHERE id = ?1",
        )?
        .query_row([id.0], |row| {
            Ok(Batch {
                id,
                order: order_of(row, 0)?,
                on_pending: on_pending_of(row, 3)?,
                send_offline: row.get(4)?,
                origin: origin_of(row, 5)?,
                created_at: Timestamp::from_millis(row.get(6)?),
                node: NodeId(row.get::<_, String>(7)?.into()),
                targets: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut batch) = head else {
        return Ok(None);
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT {}, i.device, i.device_id, i.socket, i.command, i.refusal
         FROM batch_item i LEFT JOIN command c ON c.id = i.command
         WHERE i.batch = ?1 ORDER BY i.item",
        qualified_columns()
    ))?;
    let mut results = Vec::new();
    let mut rows = statement.query([id.0])?;
    while let Some(row) = rows.next()? {
        batch.targets.push(Target {
            device: DeviceKey(row.get(COLUMN_COUNT)?),
            device_id: device_id_of(row, COLUMN_COUNT + 1)?,
            socket: socket_of(row, COLUMN_COUNT + 2)?,
        });
        results.push(result_of(row)?);
    }
    Ok(Some(BatchReport { batch, results }))
}

fn qualified_columns() -> String {
    let columns: Vec<String> = COLUMNS
        .split(", ")
        .map(|name| format!("c.{}", name.trim()))
        .collect();
    columns.join(", ")
}

fn result_of(row: &Row<'_>) -> rusqlite::Result<ItemResult> {
    let command: Option<Uuid> = row.get(COLUMN_COUNT + 3)?;
    let refusal: Option<String> = row.get(COLUMN_COUNT + 4)?;
    Ok(match (command, refusal) {
        (Some(_), _) => ItemResult::Sent(Box::new(command_of(row)?)),
        (None, Some(name)) => {
            let unknown = || bad(COLUMN_COUNT + 4, format!("refusal {name}"));
            ItemResult::Refused(Refusal::from_name(&name).ok_or_else(unknown)?)
        }
        (None, None) => ItemResult::Waiting,
    })
}

/// Forgets old batches whose commands are all forgotten.
pub(super) fn purge(db: &Connection, before: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    let mut statement = db.prepare(
        "SELECT b.id FROM batch b
         WHERE b.created_at < ?1 AND NOT EXISTS (
             SELECT 1 FROM batch_item i LEFT JOIN command c ON c.id = i.command
             WHERE i.batch = b.id
               AND (c.id IS NOT NULL OR (i.command IS NULL AND i.refusal IS NULL)))
         LIMIT ?2",
    )?;
    let old: Vec<Uuid> = statement
        .query_map(params![before.as_millis(), limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in &old {
        db.execute("DELETE FROM batch_item WHERE batch = ?1", [id])?;
        db.execute("DELETE FROM batch WHERE id = ?1", [id])?;
    }
    Ok(old.len())
}
