//! Batches and their items; forgetting what is old.

use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{Batch, BatchReport, ItemResult, Refusal, Target};
use dormouse_core::ids::{BatchId, DeviceId};
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::NodeId;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::Postgres;
use super::super::convert::{Moment, key_from, time, unreadable};
use super::super::pool::{get, in_time};
use super::row::{COLUMNS, command_of, order_of, origin_of, socket};
use crate::store::commands::on_pending;

/// How far command ids may run ahead of the time of their writing.
const ID_MARGIN: Duration = Duration::from_secs(60);

pub(super) async fn report(
    database: &Postgres,
    id: BatchId,
) -> Result<Option<BatchReport>, PortError> {
    let sql = "SELECT action, off_ms, timeout_ms, on_pending, send_offline, origin, created_at,
            node
        FROM command_batches WHERE id = $1";
    let Some(head) = database.query_opt(sql, &[&id.0]).await? else {
        return Ok(None);
    };
    let sql = format!(
        "SELECT {COLUMNS}, i.device AS to_device, i.device_id AS to_device_id,
                i.socket AS to_socket, i.command AS sent, i.refusal
         FROM command_batch_items i LEFT JOIN commands c ON c.id = i.command
         WHERE i.batch = $1 ORDER BY i.item"
    );
    let rows = database.query(&sql, &[&id.0]).await?;
    let targets: Result<Vec<_>, _> = rows.iter().map(target_of).collect();
    let results: Result<Vec<_>, _> = rows.iter().map(result_of).collect();
    let node: &str = get(&head, "node")?;
    let batch = Batch {
        id,
        order: order_of(&head)?,
        on_pending: on_pending(get(&head, "on_pending")?)
            .ok_or_else(|| unreadable("on_pending"))?,
        send_offline: get(&head, "send_offline")?,
        origin: origin_of(&head)?,
        node: NodeId(node.into()),
        created_at: time(&head, "created_at")?,
        targets: targets?,
    };
    Ok(Some(BatchReport {
        batch,
        results: results?,
    }))
}

fn target_of(row: &Row) -> Result<Target, PortError> {
    let id = DeviceId::parse(get(row, "to_device_id")?);
    Ok(Target {
        device: key_from(get(row, "to_device")?),
        device_id: id.map_err(|_| unreadable("device_id"))?,
        socket: socket(get(row, "to_socket")?)?,
    })
}

fn result_of(row: &Row) -> Result<ItemResult, PortError> {
    let command: Option<Uuid> = get(row, "sent")?;
    let refusal: Option<&str> = get(row, "refusal")?;
    Ok(match (command, refusal) {
        (Some(_), _) => ItemResult::Sent(Box::new(command_of(row)?)),
        (None, Some(name)) => {
            ItemResult::Refused(Refusal::from_name(name).ok_or_else(|| unreadable("refusal"))?)
        }
        (None, None) => ItemResult::Waiting,
    })
}

pub(super) async fn waiting_nodes(database: &Postgres) -> Result<Vec<NodeId>, PortError> {
    let sql = "SELECT DISTINCT node FROM command_batches WHERE id IN (
        SELECT batch FROM command_batch_items WHERE command IS NULL AND refusal IS NULL)";
    let rows = database.query(sql, &[]).await?;
    rows.iter()
        .map(|row| get::<_, &str>(row, 0).map(|name| NodeId(name.into())))
        .collect()
}

pub(super) async fn interrupt(database: &Postgres, nodes: &[NodeId]) -> Result<usize, PortError> {
    let nodes: Vec<&str> = nodes.iter().map(|node| &*node.0).collect();
    // Rows somebody else is answering are left to them.
    let sql = "UPDATE command_batch_items i SET refusal = $1
        FROM (SELECT i.batch, i.item FROM command_batch_items i
              JOIN command_batches b ON b.id = i.batch
              WHERE i.command IS NULL AND i.refusal IS NULL AND b.node = ANY($2)
              ORDER BY i.batch, i.item FOR UPDATE OF i SKIP LOCKED) w
        WHERE i.batch = w.batch AND i.item = w.item";
    let refusal = Refusal::Interrupted.name();
    database.execute(sql, &[&refusal, &nodes]).await
}

/// Forgets old commands, batches whose commands are all forgotten, and keys.
pub(super) async fn purge(
    database: &Postgres,
    commands_before: Timestamp,
    keys_before: Timestamp,
    limit: u32,
) -> Result<usize, PortError> {
    let mut client = database.connection().await?;
    let first_id = first_id_at(commands_before + ID_MARGIN);
    let (commands_before, keys_before) = (Moment(commands_before), Moment(keys_before));
    let limit = i64::from(limit);
    in_time(async {
        let transaction = client.transaction().await?;
        let commands = transaction
            .execute(
                "DELETE FROM commands WHERE id IN (
                     SELECT id FROM commands
                     WHERE id < $1 AND created_at < $2 AND state <> 'pending'
                     ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED)",
                &[&first_id, &commands_before, &limit],
            )
            .await?;
        let batches = transaction
            .execute(
                "DELETE FROM command_batches WHERE id IN (
                     SELECT b.id FROM command_batches b
                     WHERE b.created_at < $1 AND NOT EXISTS (
                         SELECT FROM command_batch_items i LEFT JOIN commands c ON c.id = i.command
                         WHERE i.batch = b.id AND (c.id IS NOT NULL
                               OR (i.command IS NULL AND i.refusal IS NULL)))
                     ORDER BY b.id LIMIT $2 FOR UPDATE OF b SKIP LOCKED)",
                &[&commands_before, &limit],
            )
            .await?;
        let keys = transaction
            .execute(
                "DELETE FROM idempotency_keys WHERE (caller, key) IN (
                     SELECT caller, key FROM idempotency_keys WHERE used_at < $1
                     LIMIT $2 FOR UPDATE SKIP LOCKED)",
                &[&keys_before, &limit],
            )
            .await?;
        transaction.commit().await?;
        Ok(usize::try_from(commands + batches + keys).unwrap_or(usize::MAX))
    })
    .await
}

/// The lowest id that could have been made at `at`.
fn first_id_at(at: Timestamp) -> Uuid {
    let ms = u64::try_from(at.as_millis()).unwrap_or(0);
    Uuid::from_u64_pair(ms << 16, 0)
}
