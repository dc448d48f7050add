//! Recent events of each device, for people who look with Redis's own tools.

use dormouse_core::event::Event;
use redis::Cmd;
use serde_json::json;

use super::writer::Writer;

/// How many events of a device are shown.
const MOST: isize = 100;
/// How long, at most, after the last one: 7 days, s.
const TTL_S: i64 = 7 * 24 * 60 * 60;

/// What shows `event`; nothing where it concerns no device.
pub(super) fn commands(writer: &Writer, event: &Event) -> Vec<Cmd> {
    let Some((_, device)) = &event.device else {
        return Vec::new();
    };
    let key = writer.keys.events(device);
    let text = json!({
        "id": event.id,
        "type": event.kind.name(),
        "severity": event.severity,
        "socketId": event.socket,
        "ts": event.ts,
        "receivedAt": event.received_at,
        "origin": event.origin,
        "data": event.data,
    })
    .to_string();
    let command = |name: &str| {
        let mut command = redis::cmd(name);
        command.arg(&key);
        command
    };
    // Told twice, it stands there once.
    let mut remove = command("LREM");
    remove.arg(0).arg(&text);
    let mut push = command("LPUSH");
    push.arg(&text);
    let mut trim = command("LTRIM");
    trim.arg(0).arg(MOST - 1);
    let mut expire = command("PEXPIRE");
    expire.arg(TTL_S * 1_000);
    vec![remove, push, trim, expire]
}
