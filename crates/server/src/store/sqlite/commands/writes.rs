//! The writes of the dispatcher, each on a connection inside a transaction.

use std::sync::LazyLock;
use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::command::{Cancellation, Command, Input, OnPending, Refusal, Step};
use dormouse_core::ids::{BatchId, CommandId};
use dormouse_core::ports::{CommandWrite, CommandWritten, IdempotencyKey, Made, Remembered};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::batches;
use super::row::{self, COLUMNS, bad, command_of};

/// How far command ids may run ahead of the time of their writing.
const ID_MARGIN: Duration = Duration::from_secs(60);

pub(super) fn write(db: &Connection, write: &CommandWrite) -> rusqlite::Result<CommandWritten> {
    match write {
        CommandWrite::Insert {
            command,
            on_pending,
            key,
        } => insert(db, command, *on_pending, key.as_ref()),
        CommandWrite::Settle { id, progress } => {
            let moved = row::settle(db, *id, progress)?;
            done_or_current(db, *id, moved)
        }
        CommandWrite::NoteLate { id, late } => {
            let noted = row::note_late(db, *id, *late)?;
            done_or_current(db, *id, noted)
        }
        CommandWrite::CreateBatch { batch, key } => {
            if let Some(found) = find_key(db, key.as_ref())? {
                return Ok(CommandWritten::Remembered(found));
            }
            batches::create(db, batch)?;
            claim_key(db, key.as_ref(), Made::Batch(batch.id))?;
            Ok(CommandWritten::Done)
        }
        CommandWrite::RefuseItem { item, refusal } => {
            batches::refuse(db, *item, *refusal)?;
            Ok(CommandWritten::Done)
        }
    }
}

fn done_or_current(db: &Connection, id: CommandId, done: bool) -> rusqlite::Result<CommandWritten> {
    if done {
        return Ok(CommandWritten::Done);
    }
    let current = row::find(db, id)?;
    Ok(CommandWritten::Unchanged(current.map(Box::new)))
}

fn insert(
    db: &Connection,
    command: &Command,
    on_pending: OnPending,
    key: Option<&IdempotencyKey>,
) -> rusqlite::Result<CommandWritten> {
    if let Some(found) = find_key(db, key)? {
        return Ok(CommandWritten::Remembered(found));
    }
    let met = met_by(db, command)?;
    match on_pending {
        OnPending::Refuse if !met.is_empty() => {
            if let Some(item) = command.batch {
                batches::refuse(db, item, Refusal::Pending)?;
            }
            return Ok(CommandWritten::Busy(met));
        }
        OnPending::Refuse | OnPending::Replace => {}
    }
    let mut replaced = Vec::new();
    for mut old in met {
        let why = Cancellation::Replaced(command.id);
        let step = old
            .progress
            .apply(Input::Cancelled(why), command.created_at);
        if step == Step::Settled && row::settle(db, old.id, &old.progress)? {
            replaced.push(old);
        }
    }
    row::insert(db, command)?;
    claim_key(db, key, Made::Command(command.id))?;
    if let Some(item) = command.batch {
        batches::sent(db, item, command.id)?;
    }
    Ok(if replaced.is_empty() {
        CommandWritten::Done
    } else {
        CommandWritten::Replaced(replaced)
    })
}

static MET_BY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM command
         WHERE state = 'pending' AND device = ?1 AND (socket = ?2 OR socket = 0 OR ?2 = 0)
         ORDER BY socket"
    )
});

/// The pending commands that `command` meets, in order of their sockets.
fn met_by(db: &Connection, command: &Command) -> rusqlite::Result<Vec<Command>> {
    let mut statement = db.prepare_cached(&MET_BY)?;
    let rows = statement.query_map(params![command.device.0, command.socket.get()], command_of)?;
    rows.collect()
}

fn find_key(db: &Connection, key: Option<&IdempotencyKey>) -> rusqlite::Result<Option<Remembered>> {
    match key {
        Some(key) => remembered(db, &key.caller, &key.key, key.since),
        None => Ok(None),
    }
}

pub(super) fn remembered(
    db: &Connection,
    caller: &str,
    key: &str,
    since: Timestamp,
) -> rusqlite::Result<Option<Remembered>> {
    let mut statement = db.prepare_cached(
        "SELECT fingerprint, command, batch FROM idempotency_key
         WHERE caller = ?1 AND key = ?2 AND used_at >= ?3",
    )?;
    let found = statement.query_row(params![caller, key, since.as_millis()], |row| {
        let command: Option<Uuid> = row.get(1)?;
        let batch: Option<Uuid> = row.get(2)?;
        let made = match (command, batch) {
            (Some(id), None) => Made::Command(CommandId(id)),
            (None, Some(id)) => Made::Batch(BatchId(id)),
            (Some(_), Some(_)) | (None, None) => {
                return Err(bad(1, "a key made both or nothing".to_owned()));
            }
        };
        Ok(Remembered {
            fingerprint: row.get(0)?,
            made,
        })
    });
    found.optional()
}

fn claim_key(db: &Connection, key: Option<&IdempotencyKey>, made: Made) -> rusqlite::Result<()> {
    let Some(key) = key else { return Ok(()) };
    let (command, batch) = match made {
        Made::Command(id) => (Some(id.0), None),
        Made::Batch(id) => (None, Some(id.0)),
    };
    // One that is there is older than it is remembered.
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO idempotency_key
             (caller, key, fingerprint, command, batch, used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        &*key.caller,
        key.key,
        key.fingerprint,
        command,
        batch,
        key.used_at.as_millis(),
    ])?;
    Ok(())
}

pub(super) fn purge(
    db: &Connection,
    commands_before: Timestamp,
    keys_before: Timestamp,
    limit: u32,
) -> rusqlite::Result<usize> {
    let before_ms = commands_before.as_millis();
    let id_before = first_id_at(commands_before + ID_MARGIN);
    let commands = db.execute(
        "DELETE FROM command WHERE id IN (
             SELECT id FROM command
             WHERE id < ?1 AND created_at < ?2 AND state <> 'pending' LIMIT ?3)",
        params![id_before, before_ms, limit],
    )?;
    let batches = batches::purge(db, commands_before, limit)?;
    let keys = db.execute(
        "DELETE FROM idempotency_key WHERE (caller, key) IN (
             SELECT caller, key FROM idempotency_key WHERE used_at < ?1 LIMIT ?2)",
        params![keys_before.as_millis(), limit],
    )?;
    Ok(commands + batches + keys)
}

/// The lowest id that could have been made at `at`.
pub(super) fn first_id_at(at: Timestamp) -> Uuid {
    let ms = u64::try_from(at.as_millis()).unwrap_or(0);
    Uuid::from_u64_pair(ms << 16, 0)
}
