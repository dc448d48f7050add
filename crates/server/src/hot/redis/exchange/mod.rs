//! [`Exchange`] on Redis: the log is one stream, hints are published.

mod ears;
mod listener;
mod speaker;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::{Exchange, Heard, LogPosition, NodeId};
use redis::Value;

pub(super) use ears::Ears;
use ears::Heap;
use listener::Listener;
use speaker::Speaker;

use super::link::Link;
use super::{OpenError, Redis};

/// Entries and hints among nodes, through Redis.
#[derive(Clone)]
pub struct RedisExchange {
    link: Arc<Link>,
    log_key: String,
    heap: Arc<Heap>,
    speaker: Arc<Speaker>,
}

impl fmt::Debug for RedisExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisExchange")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl RedisExchange {
    pub(super) async fn open(redis: &Redis, node: &NodeId) -> Result<Self, OpenError> {
        let heap = Arc::new(Heap::new(node));
        let listener = Listener::new(&redis.link, &redis.keys, &heap);
        let listener = listener.ready().await?;
        let speaker = Speaker::new(redis, node, &heap);
        let stop = redis.tasks.stopping();
        let listen = listener.run(stop.clone());
        redis.tasks.spawn("redis-listener", listen);
        let speak = Arc::clone(&speaker).run(stop);
        redis.tasks.spawn("redis-speaker", speak);
        Ok(Self {
            link: Arc::clone(&redis.link),
            log_key: redis.keys.log(),
            heap,
            speaker,
        })
    }
}

#[async_trait]
impl Exchange for RedisExchange {
    fn log(&self, entry: Bytes) {
        self.speaker.log(entry);
    }

    fn hint(&self, hint: Bytes) {
        self.speaker.hint(hint);
    }

    async fn next(&self) -> Heard {
        self.heap.next().await
    }

    async fn read(
        &self,
        position: Option<&LogPosition>,
        limit: usize,
    ) -> Result<Vec<(LogPosition, Bytes)>, PortError> {
        self.speaker.spoken().await?;
        let from = position.map_or_else(|| "-".to_owned(), |position| format!("({}", position.0));
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.log_key).arg(from).arg("+");
        command.arg("COUNT").arg(limit);
        let answer = self.link.ask(vec![command]).await?.into_iter().next();
        Ok(entries(answer.unwrap_or(Value::Nil)))
    }

    fn connected(&self) -> bool {
        self.heap.listening.load(Ordering::Relaxed) && self.link.check().is_ok()
    }
}

/// The entries in an answer of `XRANGE`; foreign ones are left out.
fn entries(answer: Value) -> Vec<(LogPosition, Bytes)> {
    let Value::Array(entries) = answer else {
        return Vec::new();
    };
    entries.into_iter().filter_map(entry).collect()
}

fn entry(value: Value) -> Option<(LogPosition, Bytes)> {
    let (id, fields): (String, Value) = redis::from_redis_value(value).ok()?;
    let fields: Vec<Vec<u8>> = redis::from_redis_value(fields).ok()?;
    let entry = fields.into_iter().nth(1)?;
    Some((LogPosition(id.into()), entry.into()))
}

/// The entries in an answer of `XREAD` on one stream.
fn entries_read(answer: Value) -> Vec<(LogPosition, Bytes)> {
    // A map in the newer protocol, pairs in the older one.
    let pairs: Vec<(Value, Value)> = redis::from_redis_value(answer).unwrap_or_default();
    pairs
        .into_iter()
        .flat_map(|(_, stream)| entries(stream))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_both_protocols_are_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let fields = Value::Array(vec![text("e"), text("\u{0}x")]);
        let one = Value::Array(vec![text("5-0"), fields]);
        let stream = Value::Array(vec![one, Value::Array(vec![text("6-0")])]);
        let expected = vec![(LogPosition("5-0".into()), Bytes::from_static(b"\0x"))];
        assert_eq!(entries(stream.clone()), expected);
        let map = Value::Map(vec![(text("log"), stream.clone())]);
        assert_eq!(entries_read(map), expected);
        let array = Value::Array(vec![Value::Array(vec![text("log"), stream])]);
        assert_eq!(entries_read(array), expected);
        assert_eq!(entries_read(Value::Nil), []);
    }
}
