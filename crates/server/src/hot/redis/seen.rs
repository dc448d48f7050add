//! [`LastSeen`] on Redis: an index in shards, and one key per device for people.

use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::{DeviceKey, DeviceKeyMap};
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::LastSeen;
use redis::Cmd;

use super::keys::{SHARDS, shard_of_device};
use super::link::Link;
use super::ring::LATEST_TTL_MS;
use super::writer::Writer;

/// Last signs of life in Redis.
#[derive(Clone)]
pub struct RedisLastSeen {
    link: Arc<Link>,
    writer: Arc<Writer>,
}

impl std::fmt::Debug for RedisLastSeen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLastSeen")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl RedisLastSeen {
    pub(super) const fn new(link: Arc<Link>, writer: Arc<Writer>) -> Self {
        Self { link, writer }
    }
}

/// What keeps `seen`; entries as old as keys may get go by the way.
pub(super) fn commands(writer: &Writer, seen: &DeviceKeyMap<Timestamp>) -> Vec<Cmd> {
    let mut seen: Vec<_> = seen.iter().map(|(device, at)| (*device, *at)).collect();
    seen.sort_unstable_by_key(|(device, _)| shard_of_device(*device));
    let mut commands = Vec::with_capacity(seen.len() + 2 * usize::from(SHARDS));
    for some in seen.chunk_by(|a, b| shard_of_device(a.0) == shard_of_device(b.0)) {
        let key = writer.keys.seen(shard_of_device(some[0].0));
        let mut index = redis::cmd("ZADD");
        index.arg(&key).arg("GT");
        let mut newest = Timestamp::from_millis(0);
        for (device, at) in some {
            index.arg(at.as_millis()).arg(device.0);
            newest = newest.max(*at);
            if let Some(device) = writer.directory.by_key(*device) {
                let key = [writer.keys.last_seen(&device.id)];
                let mut command = writer.scripts.seen.on(&key);
                command.arg(at.as_millis()).arg(LATEST_TTL_MS);
                commands.push(command);
            }
        }
        commands.push(index);
        let mut old = redis::cmd("ZREMRANGEBYSCORE");
        let floor = newest.as_millis().saturating_sub(LATEST_TTL_MS);
        old.arg(key).arg("-inf").arg(floor);
        commands.push(old);
    }
    commands
}

#[async_trait]
impl LastSeen for RedisLastSeen {
    fn seen(&self, device: DeviceKey, at: Timestamp) {
        self.writer.seen(device, at);
    }

    async fn last_seen(&self) -> Result<Vec<(DeviceKey, Timestamp)>, PortError> {
        self.writer.written().await?;
        let commands: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let mut command = redis::cmd("ZRANGE");
                let key = self.writer.keys.seen(shard);
                command.arg(key).arg(0).arg(-1).arg("WITHSCORES");
                command
            })
            .collect();
        let mut all = Vec::new();
        for answer in self.link.ask(commands).await? {
            let pairs: Vec<(u32, f64)> = redis::from_redis_value(answer)
                .map_err(|error| PortError::Corrupt(error.to_string()))?;
            all.extend(
                pairs
                    .into_iter()
                    .map(|(device, at)| (DeviceKey(device), moment(at))),
            );
        }
        Ok(all)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scores are whole milliseconds, far below 2^53"
)]
fn moment(score: f64) -> Timestamp {
    Timestamp::from_millis(score as i64)
}
