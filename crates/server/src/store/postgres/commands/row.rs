//! A command from its row.

use dormouse_core::command::{BatchItem, Command, Late, Order, Progress};
use dormouse_core::event::Origin;
use dormouse_core::ids::{BatchId, CommandId, DeviceId, SocketId};
use dormouse_core::ports::PortError;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::super::convert::{Moment, key_from, time, time_opt, unreadable};
use super::super::pool::get;
use crate::store::commands::{StateColumns, action, outcome};

/// A command's columns; they keep their names in joins.
pub(super) const COLUMNS: &str = "c.id, c.device, c.device_id, c.socket, c.action, c.off_ms, \
    c.timeout_ms, c.origin, c.batch, c.item, c.created_at, c.deadline_at, c.state, c.how, \
    c.reason, c.replaced_by, c.published_at, c.settled_at, c.late, c.late_at";

pub(super) fn command_of(row: &Row) -> Result<Command, PortError> {
    let batch: Option<Uuid> = get(row, "batch")?;
    let item: Option<i64> = get(row, "item")?;
    let item = item.map(u32::try_from).transpose();
    let item = item.map_err(|_| unreadable("item"))?;
    let columns = StateColumns {
        state: get(row, "state")?,
        how: get(row, "how")?,
        reason: get(row, "reason")?,
        replaced_by: get(row, "replaced_by")?,
    };
    Ok(Command {
        id: CommandId(get(row, "id")?),
        device: key_from(get(row, "device")?),
        device_id: DeviceId::parse(get(row, "device_id")?).map_err(|_| unreadable("device_id"))?,
        socket: socket(get(row, "socket")?)?,
        order: order_of(row)?,
        origin: origin_of(row)?,
        batch: batch.zip(item).map(|(batch, item)| BatchItem {
            batch: BatchId(batch),
            item,
        }),
        created_at: time(row, "created_at")?,
        deadline_at: time(row, "deadline_at")?,
        progress: Progress {
            state: columns.read().ok_or_else(|| unreadable("state"))?,
            published_at: time_opt(row, "published_at")?,
            settled_at: time_opt(row, "settled_at")?,
            late: late_of(row)?,
        },
    })
}

fn late_of(row: &Row) -> Result<Option<Late>, PortError> {
    let Some(name) = get::<_, Option<&str>>(row, "late")? else {
        return Ok(None);
    };
    let Moment(at) = get(row, "late_at")?;
    let outcome = outcome(name).ok_or_else(|| unreadable("late"))?;
    Ok(Some(Late { outcome, at }))
}

/// The order of a command or a batch.
pub(super) fn order_of(row: &Row) -> Result<Order, PortError> {
    let off_ms: Option<i64> = get(row, "off_ms")?;
    let timeout_ms: i64 = get(row, "timeout_ms")?;
    Ok(Order {
        action: action(get(row, "action")?).ok_or_else(|| unreadable("action"))?,
        off_ms: off_ms
            .map(u32::try_from)
            .transpose()
            .map_err(|_| unreadable("off_ms"))?,
        timeout_ms: timeout_ms
            .try_into()
            .map_err(|_| unreadable("timeout_ms"))?,
    })
}

pub(super) fn origin_of(row: &Row) -> Result<Origin, PortError> {
    get(row, "origin").map(|Json(origin)| origin)
}

pub(super) fn socket(number: i16) -> Result<SocketId, PortError> {
    let number = u64::try_from(number).map_err(|_| unreadable("socket"))?;
    SocketId::parse(number).map_err(|_| unreadable("socket"))
}
