//! Hot state in this process, within a budget.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use super::lock;
use crate::clock::Timestamp;
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::hot::{HotState, Latest, RING_MS, Recent};
use crate::ring::{self, Ring};
use crate::sample::Sample;

/// The rings' budget unless configured otherwise, bytes.
pub const RING_BUDGET: usize = 64 << 20;

/// Locks over the devices; a power of two.
const SHARDS: usize = 64;

/// Rings and latest readings in memory. Beyond the budget the rings that grow
/// are thinned, then lose their oldest blocks; what is left is bounded by the
/// number of devices.
pub struct MemoryHot {
    shards: Box<[Mutex<Shard>]>,
    budget: usize,
    used: AtomicUsize,
}

/// The devices whose keys fall on one lock, by key / [`SHARDS`].
type Shard = Vec<Option<Box<Entry>>>;

#[derive(Debug, Default)]
struct Entry {
    ring: Ring,
    /// What the ring counts for in `used`.
    counted: usize,
    /// In order of sockets.
    latest: Vec<Latest>,
}

impl std::fmt::Debug for MemoryHot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryHot")
            .field("budget", &self.budget)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Default for MemoryHot {
    fn default() -> Self {
        Self::new(RING_BUDGET)
    }
}

impl MemoryHot {
    /// Empty, with `budget` bytes for all rings together.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            budget,
            used: AtomicUsize::new(0),
        }
    }

    /// Bytes that the rings take.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn shard(&self, device: DeviceKey) -> MutexGuard<'_, Shard> {
        lock(&self.shards[device.0 as usize % SHARDS])
    }

    /// Brings `used` up to date with what `entry` takes now.
    fn recount(&self, entry: &mut Entry) {
        let now = entry.ring.bytes();
        self.used.fetch_add(now, Ordering::Relaxed);
        self.used.fetch_sub(entry.counted, Ordering::Relaxed);
        entry.counted = now;
    }

    fn shrink(&self, entry: &mut Entry) {
        if entry.ring.can_thin() {
            entry.ring.thin();
            self.recount(entry);
        }
        while self.used() > self.budget && entry.ring.drop_oldest() {
            self.recount(entry);
        }
    }
}

impl Entry {
    fn keep_latest(&mut self, sample: &Sample) {
        let reading = Latest {
            socket: sample.socket,
            ts: sample.ts,
            values: sample.values,
        };
        match self
            .latest
            .binary_search_by_key(&sample.socket, |l| l.socket)
        {
            Ok(index) if self.latest[index].ts < sample.ts => self.latest[index] = reading,
            Ok(_) => {}
            Err(index) => self.latest.insert(index, reading),
        }
    }
}

#[async_trait]
impl HotState for MemoryHot {
    fn put(&self, device: DeviceKey, samples: &[Sample]) {
        let mut shard = self.shard(device);
        let index = device.0 as usize / SHARDS;
        if index >= shard.len() {
            shard.resize_with(index + 1, || None);
        }
        let entry = shard[index].get_or_insert_default();
        for sample in samples {
            entry.keep_latest(sample);
        }
        for total in ring::totals(samples) {
            entry.ring.insert(&total);
        }
        if entry.ring.grew() {
            self.recount(entry);
            if self.used() > self.budget {
                self.shrink(entry);
            }
        }
    }

    async fn latest(&self, devices: &[DeviceKey]) -> Result<Vec<Vec<Latest>>, PortError> {
        let of_one = |device: &DeviceKey| {
            let shard = self.shard(*device);
            let entry = shard.get(device.0 as usize / SHARDS)?.as_ref()?;
            Some(entry.latest.clone())
        };
        Ok(devices
            .iter()
            .map(|it| of_one(it).unwrap_or_default())
            .collect())
    }

    async fn recent(
        &self,
        device: DeviceKey,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Recent, PortError> {
        let shard = self.shard(device);
        let entry = shard
            .get(device.0 as usize / SHARDS)
            .and_then(Option::as_ref);
        Ok(entry
            .map(|entry| entry.ring.read(from, to))
            .unwrap_or_default())
    }

    fn forget(&self, device: DeviceKey) {
        let mut shard = self.shard(device);
        let slot = shard.get_mut(device.0 as usize / SHARDS);
        if let Some(entry) = slot.and_then(Option::take) {
            self.used.fetch_sub(entry.counted, Ordering::Relaxed);
        }
    }

    fn sweep(&self, now: Timestamp) {
        let floor = Timestamp::from_millis(now.as_millis().saturating_sub(RING_MS));
        for shard in &self.shards {
            for entry in lock(shard).iter_mut().flatten() {
                entry.ring.expire(floor);
                self.recount(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SocketId;
    use crate::sample::Values;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        crate::contract::hot_state(&MemoryHot::default()).await;
    }

    #[tokio::test]
    async fn the_budget_holds_and_the_answer_says_what_it_cost() {
        let budget = 80_000;
        let hot = MemoryHot::new(budget);
        let start = Timestamp::from_millis(1_767_268_800_000);
        let at = |n: i64| Timestamp::from_millis(start.as_millis() + n * 5000);
        for n in 0..1440 {
            for device in 0..40 {
                let sample = Sample {
                    socket: SocketId::STRIP,
                    ts: at(n),
                    values: Values {
                        power_dw: Some(i32::try_from(n * 7919 % 1000).unwrap()),
                        energy_dwh: Some(n * 3),
                        ..Values::default()
                    },
                };
                hot.put(DeviceKey(device), &[sample]);
            }
        }
        assert!(hot.used() <= budget + budget / 10, "{}", hot.used());
        let recent = hot.recent(DeviceKey(7), start, at(1440)).await.unwrap();
        assert!(recent.thinned_before.is_some());
        let young = recent.samples.iter().filter(|s| s.ts >= at(1440 - 180));
        assert_eq!(young.count(), 180, "the last quarter of an hour is whole");
    }
}
