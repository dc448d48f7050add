//! Fills a private Redis with two hours of a fleet and says what a device
//! takes.
//!
//! ```text
//! cargo run --release -p dormouse --example redis_load -- [devices] [samples]
//! ```

#![expect(clippy::print_stdout, reason = "a tool for people")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dormouse::hot::redis::{Redis, RedisSettings};
use dormouse::tasks::Tasks;
use dormouse_core::clock::Timestamp;
use dormouse_core::device::{Device, DeviceSettings, DeviceState};
use dormouse_core::directory::Directory;
use dormouse_core::ids::{DeviceId, DeviceKey, SocketId};
use dormouse_core::ports::hot::HotState;
use dormouse_core::sample::{Sample, Values};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const NOON: Timestamp = Timestamp::from_millis(1_767_355_200_000);

/// Devices by their keys, from 1.
struct Fleet(Vec<Arc<Device>>);

impl Fleet {
    fn of(devices: u32) -> anyhow::Result<Self> {
        let device = |n: u32| {
            Ok(Arc::new(Device {
                key: DeviceKey(n),
                id: DeviceId::parse(&format!("strip-{n}"))?,
                state: DeviceState::Active,
                settings: DeviceSettings::default(),
                reported: None,
                version: 1,
                created_at: NOON,
            }))
        };
        (1..=devices)
            .map(device)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }
}

impl Directory for Fleet {
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        self.0.get(key.0.checked_sub(1)? as usize).cloned()
    }

    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.0.iter().find(|device| device.id == *id).cloned()
    }

    fn all(&self) -> Vec<Arc<Device>> {
        self.0.clone()
    }
}

/// A strip whose totals are measured: noisy power, voltage and current, a
/// counter, and reports that jitter by some 10 ms.
struct Strip {
    level_dw: i32,
    energy_mwh: i64,
}

impl Strip {
    fn sample(&mut self, n: u64, random: &mut StdRng) -> Sample {
        if random.random_range(0..200) == 0 {
            self.level_dw = random.random_range(20..20_000);
        }
        let power_dw = self.level_dw + random.random_range(-5..=5);
        let voltage_dv = 2_300 + random.random_range(-6..=6);
        self.energy_mwh += i64::from(power_dw) * 5 / 36;
        Sample {
            socket: SocketId::STRIP,
            ts: NOON + Duration::from_millis(n * 5_000 + random.random_range(0..20)),
            values: Values {
                power_dw: Some(power_dw),
                voltage_dv: Some(voltage_dv),
                current_ma: Some(power_dw * 1_000 / voltage_dv),
                energy_dwh: Some(self.energy_mwh / 100),
                power_factor_centi: Some(98),
            },
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| {
        let given = arguments.next().map(|text| text.parse());
        given.unwrap_or(Ok(default)).context("not a number")
    };
    let (devices, samples) = (number(1_000)?, number(1_440)?);
    let server = dormouse_testbed::redis::Redis::start()?;
    let (tasks, _deaths) = Tasks::new();
    let settings = RedisSettings {
        url: server.url(),
        ..RedisSettings::default()
    };
    let redis = Redis::open(&settings, Arc::new(Fleet::of(devices)?), &tasks).await?;
    let hot = redis.hot();
    let before: u64 = info(&server, "memory", "used_memory")?.parse()?;
    let mut random = StdRng::seed_from_u64(7);
    let mut strips: Vec<_> = (0..devices)
        .map(|_| Strip {
            level_dw: random.random_range(20..20_000),
            energy_mwh: random.random_range(0..1_000_000_000),
        })
        .collect();
    let begun = tokio::time::Instant::now();
    for n in 0..samples {
        for (key, strip) in (1..).zip(&mut strips) {
            hot.put(DeviceKey(key), &[strip.sample(n.into(), &mut random)]);
        }
        hot.latest(&[]).await?;
    }
    let took = begun.elapsed();
    let after: u64 = info(&server, "memory", "used_memory")?.parse()?;
    let cpu: f64 = info(&server, "cpu", "used_cpu_user")?.parse::<f64>()?
        + info(&server, "cpu", "used_cpu_sys")?.parse::<f64>()?;
    let all = f64::from(devices) * f64::from(samples);
    let per_device = after.saturating_sub(before) / u64::from(devices);
    println!("{devices} devices, {samples} samples each, in {took:.1?}");
    println!("memory: {per_device} bytes a device, all keys of it");
    for key in ["ring:{strip-7}", "latest:{strip-7}"] {
        let bytes = server.cli(&["MEMORY", "USAGE", key, "SAMPLES", "0"])?;
        println!("  {key}: {bytes}");
    }
    println!("Redis: {:.1} µs of CPU a sample", cpu * 1e6 / all);
    let ring = hot
        .recent(DeviceKey(7), NOON, Timestamp::from_millis(i64::MAX))
        .await?;
    println!("in the ring of one: {} samples", ring.samples.len());
    tasks.finish(Duration::from_secs(5)).await;
    Ok(())
}

fn info(
    server: &dormouse_testbed::redis::Redis,
    section: &str,
    field: &str,
) -> anyhow::Result<String> {
    let text = server.cli(&["INFO", section])?;
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().to_owned())
    });
    value.with_context(|| format!("no {field}"))
}
