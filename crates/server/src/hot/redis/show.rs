//! Commands as people look for them: each as a hash, a socket's last one, and
//! the newest of a device.

use dormouse_core::command::Command;
use redis::Cmd;
use serde::Serialize;

use super::keys::shard_of_command;
use super::writer::Writer;

/// How many commands of a device are listed.
const MOST: usize = 50;
/// How long a command is shown after its last change: a day, ms.
const COMMAND_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// How long a device's newest and a socket's last are shown: 35 days, ms.
const DEVICE_TTL_MS: i64 = 35 * COMMAND_TTL_MS;

/// What shows `command` as it is now.
pub(super) fn commands(writer: &Writer, command: &Command) -> Vec<Cmd> {
    let state = name_of(&command.progress.state.name());
    let fields = fields(command, &state);
    let key = writer.keys.command(command.id);
    let mut commands = Vec::new();
    if command.is_pending() {
        // Another node may have shown its end already.
        let mut pending = redis::cmd("HSETNX");
        pending.arg(&key).arg("state").arg(&state);
        commands.push(pending);
    } else {
        let mut disarm = redis::cmd("ZREM");
        disarm.arg(writer.keys.deadlines(shard_of_command(command.id)));
        disarm.arg(command.id.to_string());
        commands.push(disarm);
    }
    let mut hash = redis::cmd("HSET");
    hash.arg(&key);
    for (name, value) in &fields {
        if !(command.is_pending() && *name == "state") {
            hash.arg(*name).arg(value);
        }
    }
    commands.push(hash);
    let mut expire = redis::cmd("PEXPIRE");
    expire.arg(&key).arg(COMMAND_TTL_MS);
    commands.push(expire);

    let device = &command.device_id;
    let keys = [
        writer.keys.commands(device),
        writer.keys.last_command(device, command.socket),
    ];
    let mut show = writer.scripts.show.on(&keys);
    show.arg(command.id.to_string()).arg(&state);
    show.arg(DEVICE_TTL_MS).arg(MOST);
    for (name, value) in &fields {
        show.arg(*name).arg(value);
    }
    commands.push(show);
    commands
}

fn fields(command: &Command, state: &str) -> Vec<(&'static str, String)> {
    let progress = &command.progress;
    let mut fields = vec![
        ("cmdId", command.id.to_string()),
        ("deviceId", command.device_id.to_string()),
        ("socketId", command.socket.to_string()),
        ("action", name_of(&command.order.action)),
        ("state", state.to_owned()),
        ("origin", command.origin.kind().to_owned()),
        ("createdAt", command.created_at.as_millis().to_string()),
        ("deadlineAt", command.deadline_at.as_millis().to_string()),
    ];
    let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
    let ms = |at: dormouse_core::clock::Timestamp| at.as_millis().to_string();
    add("offMs", command.order.off_ms.map(|it| it.to_string()));
    add("by", command.origin.name().map(str::to_owned));
    add("batchId", command.batch.map(|it| it.batch.to_string()));
    add("publishedAt", progress.published_at.map(ms));
    add("settledAt", progress.settled_at.map(ms));
    add("evidence", progress.state.evidence().map(|it| name_of(&it)));
    add("reason", progress.state.reason());
    add("lateOutcome", progress.late.map(|it| name_of(&it.outcome)));
    add("lateAt", progress.late.map(|it| ms(it.at)));
    fields
}

/// A name as the API writes it.
fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
