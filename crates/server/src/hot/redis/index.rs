//! [`CommandIndex`] on Redis.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::command::{Command, PER_SECOND};
use dormouse_core::ids::{CommandId, DeviceKey};
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::CommandIndex;
use redis::{Cmd, FromRedisValue, Value};

use super::keys::{Keys, SHARDS, shard_of_command};
use super::link::Link;
use super::scripts::Scripts;
use super::writer::Writer;

/// Rates and deadlines in Redis.
#[derive(Clone)]
pub struct RedisIndex {
    link: Arc<Link>,
    writer: Arc<Writer>,
    keys: Keys,
    scripts: Arc<Scripts>,
}

impl std::fmt::Debug for RedisIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisIndex")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, PortError> {
    redis::from_redis_value(value).map_err(|error| PortError::Corrupt(error.to_string()))
}

impl RedisIndex {
    pub(super) const fn new(
        link: Arc<Link>,
        writer: Arc<Writer>,
        keys: Keys,
        scripts: Arc<Scripts>,
    ) -> Self {
        Self {
            link,
            writer,
            keys,
            scripts,
        }
    }

    fn take(&self, shard: u8, before: Timestamp, limit: usize) -> Cmd {
        let key = [self.keys.deadlines(shard)];
        let mut command = self.scripts.claim.on(&key);
        command.arg(before.as_millis()).arg(limit);
        command
    }
}

#[async_trait]
impl CommandIndex for RedisIndex {
    async fn admit(&self, devices: &[DeviceKey]) -> Result<Vec<Result<(), Duration>>, PortError> {
        let mut places: BTreeMap<DeviceKey, Vec<usize>> = BTreeMap::new();
        for (place, device) in devices.iter().enumerate() {
            places.entry(*device).or_default().push(place);
        }
        let commands: Vec<_> = places
            .iter()
            .map(|(device, places)| {
                let key = [self.keys.rate(*device)];
                let mut command = self.scripts.admit.on(&key);
                command.arg(places.len()).arg(PER_SECOND);
                command
            })
            .collect();
        let answers = self.link.ask(commands).await?;
        let mut admitted = vec![Ok(()); devices.len()];
        for (places, answer) in places.into_values().zip(answers) {
            let waits: Vec<u64> = read(answer)?;
            for (place, wait_us) in places.into_iter().zip(waits) {
                if wait_us > 0 {
                    admitted[place] = Err(Duration::from_micros(wait_us));
                }
            }
        }
        Ok(admitted)
    }

    async fn arm(&self, deadlines: &[(CommandId, Timestamp)]) -> Result<(), PortError> {
        let mut shards: BTreeMap<u8, Cmd> = BTreeMap::new();
        for (id, at) in deadlines {
            let shard = shard_of_command(*id);
            let command = shards.entry(shard).or_insert_with(|| {
                let mut command = redis::cmd("ZADD");
                command.arg(self.keys.deadlines(shard));
                command
            });
            command.arg(at.as_millis()).arg(id.to_string());
        }
        let commands: Vec<_> = shards.into_values().collect();
        self.link.ask(commands).await?;
        Ok(())
    }

    async fn claim(&self, before: Timestamp, limit: usize) -> Result<Vec<CommandId>, PortError> {
        // What became final just now must not be claimed.
        self.writer.written().await?;
        let mut claimed = Vec::new();
        let mut shard = 0;
        while shard < SHARDS && claimed.len() < limit {
            let left = limit - claimed.len();
            let asked = usize::from(SHARDS - shard).min(left);
            let each = left / asked;
            let some = u8::try_from(asked).unwrap_or(SHARDS);
            let commands: Vec<_> = (shard..shard + some)
                .map(|shard| self.take(shard, before, each))
                .collect();
            for answer in self.link.ask(commands).await? {
                let ids: Vec<String> = read(answer)?;
                // Nobody else writes here; what is no id is of no use to anybody.
                claimed.extend(ids.iter().filter_map(|id| CommandId::parse(id).ok()));
            }
            shard += some;
        }
        Ok(claimed)
    }

    fn show(&self, command: &Command) {
        self.writer.show(command);
    }
}
