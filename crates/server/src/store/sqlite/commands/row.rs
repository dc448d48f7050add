//! A command as a row, and back.

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{BatchItem, Command, Late, OnPending, Order, Progress, State};
use dormouse_core::event::Origin;
use dormouse_core::ids::{BatchId, CommandId, DeviceId, DeviceKey, SocketId};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::store::commands::{self as store, StateColumns, action_name, outcome_name};

pub(super) const COLUMNS: &str = "id, device, device_id, socket, action, off_ms, timeout_ms, \
    origin, batch, item, created_at, deadline_at, state, how, reason, replaced_by, published_at, \
    settled_at, late, late_at";

/// Where [`COLUMNS`] end; a join's own columns follow.
pub(super) const COLUMN_COUNT: usize = 20;

pub(super) fn find(db: &Connection, id: CommandId) -> rusqlite::Result<Option<Command>> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM command WHERE id = ?1"))?;
    statement.query_row([id.0], command_of).optional()
}

pub(super) fn insert(db: &Connection, command: &Command) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "INSERT INTO command (id, device, device_id, socket, action, off_ms, timeout_ms, origin,
                              batch, item, created_at, deadline_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'pending')",
    )?;
    statement.execute(params![
        command.id.0,
        command.device.0,
        command.device_id.as_str(),
        command.socket.get(),
        action_name(command.order.action),
        command.order.off_ms,
        command.order.timeout_ms,
        origin_text(&command.origin),
        command.batch.map(|it| it.batch.0),
        command.batch.map(|it| it.item),
        command.created_at.as_millis(),
        command.deadline_at.as_millis(),
    ])?;
    Ok(())
}

/// Moves a pending command; says whether it was one.
pub(super) fn settle(
    db: &Connection,
    id: CommandId,
    progress: &Progress,
) -> rusqlite::Result<bool> {
    let columns = StateColumns::from(&progress.state);
    let mut statement = db.prepare_cached(
        "UPDATE command SET state = ?2, how = ?3, reason = ?4, replaced_by = ?5,
                            published_at = coalesce(?6, published_at), settled_at = ?7
         WHERE id = ?1 AND state = 'pending'",
    )?;
    let moved = statement.execute(params![
        id.0,
        columns.state,
        columns.how,
        columns.reason,
        columns.replaced_by,
        progress.published_at.map(Timestamp::as_millis),
        progress.settled_at.map(Timestamp::as_millis),
    ])?;
    Ok(moved == 1)
}

pub(super) fn note_late(db: &Connection, id: CommandId, late: Late) -> rusqlite::Result<bool> {
    let mut statement = db.prepare_cached(
        "UPDATE command SET late = ?2, late_at = ?3
         WHERE id = ?1 AND state <> 'pending' AND late IS NULL",
    )?;
    let outcome = outcome_name(late.outcome);
    let noted = statement.execute(params![id.0, outcome, late.at.as_millis()])?;
    Ok(noted == 1)
}

pub(super) fn command_of(row: &Row<'_>) -> rusqlite::Result<Command> {
    let batch: Option<Uuid> = row.get(8)?;
    let item: Option<u32> = row.get(9)?;
    Ok(Command {
        id: CommandId(row.get(0)?),
        device: DeviceKey(row.get(1)?),
        device_id: device_id_of(row, 2)?,
        socket: socket_of(row, 3)?,
        order: order_of(row, 4)?,
        origin: origin_of(row, 7)?,
        batch: batch.zip(item).map(|(batch, item)| BatchItem {
            batch: BatchId(batch),
            item,
        }),
        created_at: Timestamp::from_millis(row.get(10)?),
        deadline_at: Timestamp::from_millis(row.get(11)?),
        progress: Progress {
            state: state_of(row)?,
            published_at: time_of(row, 16)?,
            settled_at: time_of(row, 17)?,
            late: late_of(row)?,
        },
    })
}

fn state_of(row: &Row<'_>) -> rusqlite::Result<State> {
    let state: String = row.get(12)?;
    let how: Option<String> = row.get(13)?;
    let reason: Option<String> = row.get(14)?;
    let columns = StateColumns {
        state: &state,
        how: how.as_deref(),
        reason: reason.as_deref(),
        replaced_by: row.get(15)?,
    };
    let unknown = || bad(12, format!("state {state} {how:?}"));
    columns.read().ok_or_else(unknown)
}

fn late_of(row: &Row<'_>) -> rusqlite::Result<Option<Late>> {
    let outcome: Option<String> = row.get(18)?;
    let Some(name) = outcome else {
        return Ok(None);
    };
    let unknown = || bad(18, format!("late {name}"));
    let outcome = store::outcome(&name).ok_or_else(unknown)?;
    let at = Timestamp::from_millis(row.get(19)?);
    Ok(Some(Late { outcome, at }))
}

fn time_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let ms: Option<i64> = row.get(column)?;
    Ok(ms.map(Timestamp::from_millis))
}

/// The order in three columns from `column` on: action, pause, time-out.
pub(super) fn order_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Order> {
    let action: String = row.get(column)?;
    Ok(Order {
        action: store::action(&action).ok_or_else(|| bad(column, format!("action {action}")))?,
        off_ms: row.get(column + 1)?,
        timeout_ms: row.get(column + 2)?,
    })
}

pub(super) fn on_pending_of(row: &Row<'_>, column: usize) -> rusqlite::Result<OnPending> {
    let name: String = row.get(column)?;
    store::on_pending(&name).ok_or_else(|| bad(column, format!("on_pending {name}")))
}

pub(super) fn origin_text(origin: &Origin) -> String {
    serde_json::to_string(origin).unwrap_or_default()
}

pub(super) fn origin_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Origin> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| bad(column, error.to_string()))
}

pub(super) fn device_id_of(row: &Row<'_>, column: usize) -> rusqlite::Result<DeviceId> {
    let text: String = row.get(column)?;
    DeviceId::parse(&text).map_err(|error| bad(column, error.to_string()))
}

pub(super) fn socket_of(row: &Row<'_>, column: usize) -> rusqlite::Result<SocketId> {
    let number: u8 = row.get(column)?;
    SocketId::parse(number.into()).map_err(|error| bad(column, error.to_string()))
}

/// A value that this version never wrote.
pub(super) fn bad(column: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
}
