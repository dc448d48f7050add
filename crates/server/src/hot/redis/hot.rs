//! [`HotState`] on Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::hot::{HotState, Latest, RING_MS, Recent};
use dormouse_core::ring;
use dormouse_core::sample::Sample;
use redis::Value;

use super::buffers::Put;
use super::link::Link;
use super::ring::parse;
use super::writer::Writer;

/// Live state in Redis.
#[derive(Clone)]
pub struct RedisHot {
    link: Arc<Link>,
    writer: Arc<Writer>,
    /// Older samples are not shown, unix ms; Redis frees them by itself.
    floor: Arc<AtomicI64>,
}

impl std::fmt::Debug for RedisHot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisHot")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl RedisHot {
    pub(super) fn new(link: Arc<Link>, writer: Arc<Writer>) -> Self {
        Self {
            link,
            writer,
            floor: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }
}

fn bad(error: impl std::fmt::Display) -> PortError {
    PortError::Corrupt(error.to_string())
}

/// The latest readings in a hash, unless another device's of the same name.
fn readings(device: DeviceKey, hash: Value) -> Result<Vec<Latest>, PortError> {
    let fields: HashMap<String, String> = redis::from_redis_value(hash).map_err(bad)?;
    if fields.get("key") != Some(&device.0.to_string()) {
        return Ok(Vec::new());
    }
    let mut latest: Vec<_> = fields
        .iter()
        .filter_map(|(socket, reading)| parse(socket, reading))
        .collect();
    latest.sort_by_key(|it| it.socket);
    Ok(latest)
}

#[async_trait]
impl HotState for RedisHot {
    fn put(&self, device: DeviceKey, samples: &[Sample]) {
        if !samples.is_empty() {
            self.writer.put(Put::Samples(device, samples.into()));
        }
    }

    async fn latest(&self, devices: &[DeviceKey]) -> Result<Vec<Vec<Latest>>, PortError> {
        self.writer.written().await?;
        let mut commands = Vec::new();
        let mut asked = Vec::new();
        for device in devices {
            let found = self.writer.directory.by_key(*device);
            asked.push(found.is_some());
            commands.extend(found.map(|device| {
                let mut command = redis::cmd("HGETALL");
                command.arg(self.writer.keys.latest(&device.id));
                command
            }));
        }
        let mut answers = self.link.ask(commands).await?.into_iter();
        devices
            .iter()
            .zip(asked)
            .map(|(device, asked)| match answers.next_if(asked) {
                Some(hash) => readings(*device, hash),
                None => Ok(Vec::new()),
            })
            .collect()
    }

    async fn recent(
        &self,
        device: DeviceKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Recent, PortError> {
        self.writer.written().await?;
        let Some(found) = self.writer.directory.by_key(device) else {
            return Ok(Recent::default());
        };
        let mut owner = redis::cmd("HGET");
        owner.arg(self.writer.keys.latest(&found.id)).arg("key");
        let mut runs = redis::cmd("LRANGE");
        runs.arg(self.writer.keys.ring(&found.id)).arg(0).arg(-1);
        let commands = vec![owner, runs];
        let mut answers = self.link.ask(commands).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let owner: Option<u32> = redis::from_redis_value(next()).map_err(bad)?;
        if owner != Some(device.0) {
            return Ok(Recent::default());
        }
        let runs: Vec<Vec<u8>> = redis::from_redis_value(next()).map_err(bad)?;
        let floor = Timestamp::from_millis(self.floor.load(Ordering::Relaxed));
        Ok(ring::read(
            runs.iter().map(Vec::as_slice),
            from.max(floor),
            to,
        ))
    }

    fn forget(&self, device: DeviceKey) {
        self.writer.put(Put::Forget(device));
    }

    fn sweep(&self, now: Timestamp) {
        let floor = now.as_millis().saturating_sub(RING_MS);
        self.floor.fetch_max(floor, Ordering::Relaxed);
    }

    fn emptied(&self) -> u64 {
        *self.link.emptied().borrow()
    }
}

/// Takes the next only where it was asked for.
trait NextIf: Iterator {
    fn next_if(&mut self, wanted: bool) -> Option<Self::Item> {
        if wanted { self.next() } else { None }
    }
}

impl<T: Iterator> NextIf for T {}
