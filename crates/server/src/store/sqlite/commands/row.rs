//! A command as a row, and back.

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{
    BatchItem, Cancellation, Command, Evidence, Failure, Late, OnPending, Order, Progress, State,
};
use dormouse_core::event::Origin;
use dormouse_core::ids::{BatchId, CommandId, DeviceId, DeviceKey, SocketId};
use dormouse_core::wire::{AckStatus, Action};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

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
    let (state, how, reason, replaced_by) = match &progress.state {
        State::Pending => ("pending", None, None, None),
        State::Success(Evidence::Acked) => ("success", Some("acked"), None, None),
        State::Success(Evidence::Inferred) => ("success", Some("inferred"), None, None),
        State::Failed(Failure::Refused(why)) => ("failed", Some("refused"), why.as_deref(), None),
        State::Failed(Failure::NotSent(why)) => ("failed", Some("not-sent"), Some(&**why), None),
        State::Timeout => ("timeout", None, None, None),
        State::Cancelled(Cancellation::Asked) => ("cancelled", Some("asked"), None, None),
        State::Cancelled(Cancellation::Replaced(by)) => {
            ("cancelled", Some("replaced"), None, Some(by.0))
        }
    };
    let mut statement = db.prepare_cached(
        "UPDATE command SET state = ?2, how = ?3, reason = ?4, replaced_by = ?5,
                            published_at = coalesce(?6, published_at), settled_at = ?7
         WHERE id = ?1 AND state = 'pending'",
    )?;
    let moved = statement.execute(params![
        id.0,
        state,
        how,
        reason,
        replaced_by,
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
    let outcome = match late.outcome {
        AckStatus::Success => "success",
        AckStatus::Failed => "failed",
    };
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
    Ok(match (state.as_str(), how.as_deref()) {
        ("pending", _) => State::Pending,
        ("success", Some("acked")) => State::Success(Evidence::Acked),
        ("success", Some("inferred")) => State::Success(Evidence::Inferred),
        ("failed", Some("refused")) => State::Failed(Failure::Refused(reason)),
        ("failed", Some("not-sent")) => State::Failed(Failure::NotSent(reason.unwrap_or_default())),
        ("timeout", _) => State::Timeout,
        ("cancelled", Some("asked")) => State::Cancelled(Cancellation::Asked),
        ("cancelled", Some("replaced")) => {
            let by = CommandId(row.get(15)?);
            State::Cancelled(Cancellation::Replaced(by))
        }
        _ => return Err(bad(12, format!("state {state} {how:?}"))),
    })
}

fn late_of(row: &Row<'_>) -> rusqlite::Result<Option<Late>> {
    let outcome: Option<String> = row.get(18)?;
    let outcome = match outcome.as_deref() {
        None => return Ok(None),
        Some("success") => AckStatus::Success,
        Some("failed") => AckStatus::Failed,
        Some(other) => return Err(bad(18, format!("late {other}"))),
    };
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
        action: match action.as_str() {
            "on" => Action::On,
            "off" => Action::Off,
            "cycle" => Action::Cycle,
            other => return Err(bad(column, format!("action {other}"))),
        },
        off_ms: row.get(column + 1)?,
        timeout_ms: row.get(column + 2)?,
    })
}

pub(super) const fn action_name(action: Action) -> &'static str {
    match action {
        Action::On => "on",
        Action::Off => "off",
        Action::Cycle => "cycle",
    }
}

pub(super) const fn on_pending_name(on_pending: OnPending) -> &'static str {
    match on_pending {
        OnPending::Refuse => "refuse",
        OnPending::Replace => "replace",
    }
}

pub(super) fn on_pending_of(row: &Row<'_>, column: usize) -> rusqlite::Result<OnPending> {
    let name: String = row.get(column)?;
    match name.as_str() {
        "refuse" => Ok(OnPending::Refuse),
        "replace" => Ok(OnPending::Replace),
        other => Err(bad(column, format!("on_pending {other}"))),
    }
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
