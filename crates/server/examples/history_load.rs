//! Loads history in arrival order, then times charts of it over the API's own
//! router. Prints one JSON object.
//!
//! ```text
//! cargo run --release -p dormouse --example history_load -- \
//!     --devices 290 --days 60 --period-s 30 --batch 20000 [--dir DIR]
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use clap::Parser;
use dormouse::api::{Caller, history};
use dormouse::store::sqlite::SqliteHistory;
use dormouse_core::access::Role;
use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::device::{Device, DeviceSettings, DeviceState};
use dormouse_core::directory::Directory;
use dormouse_core::event::Origin;
use dormouse_core::ids::{DeviceId, DeviceKey, SocketId};
use dormouse_core::ports::history::{HistoryStore as _, HistoryUpkeep as _};
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::services::history::History;
use dormouse_core::site::SiteZone;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

/// The moment after the last sample: 2026-06-01T00:00:00Z.
const END_MS: i64 = 1_780_272_000_000;
const DAY_MS: i64 = 86_400_000;

/// How much to load and how.
#[derive(Debug, Parser)]
struct Args {
    /// Strips; each reports its totals.
    #[arg(long, default_value_t = 115)]
    devices: u32,
    /// Days up to 2026-06-01.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Seconds between two reports of a strip.
    #[arg(long, default_value_t = 300)]
    period_s: u32,
    /// Samples in one append.
    #[arg(long, default_value_t = 20_000)]
    batch: usize,
    /// Charts of each kind that are timed.
    #[arg(long, default_value_t = 300)]
    charts: u32,
    /// Where to keep the file; a temporary folder where left out. A file that
    /// is there already is charted and not loaded again.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let temporary = tempfile::tempdir()?;
    let dir = args.dir.as_deref().unwrap_or(temporary.path());
    let path = dir.join("history.db");
    let loaded = if path.exists() {
        Value::Null
    } else {
        load(&args, &path).await?
    };
    let charted = chart(&args, &path).await?;
    let report = json!({"load": loaded, "charts": charted});
    #[expect(clippy::print_stdout, reason = "the report is the product")]
    {
        println!("{report}");
    }
    Ok(())
}

async fn load(args: &Args, path: &Path) -> anyhow::Result<Value> {
    let store = SqliteHistory::open(path, SiteZone::UTC).await?;
    let (began, cpu_began) = (Instant::now(), cpu()?);
    let mut rows: u64 = 0;
    let mut slowest = Duration::ZERO;
    let mut making = Duration::ZERO;
    let mut strips = Strips::new(args);
    loop {
        let made = Instant::now();
        let mut batch = strips.next_batch(args.batch);
        batch.sort_by_key(|it| (it.device, it.sample.socket, it.sample.ts));
        making += made.elapsed();
        if batch.is_empty() {
            break;
        }
        let appended = Instant::now();
        rows += store.append(batch, None).await?.new as u64;
        slowest = slowest.max(appended.elapsed());
    }
    store.close().await;
    let (took, cpu_took) = (began.elapsed() - making, cpu()? - cpu_began - making);
    let bytes = std::fs::metadata(path)?.len();
    let store = SqliteHistory::open(path, SiteZone::UTC).await?;
    let usage = store.usage().await?;
    store.close().await;
    let per_row = |value: f64| value / rows as f64;
    Ok(json!({
        "rows": rows,
        "rowsPerSecond": (rows as f64 / took.as_secs_f64()).round(),
        "cpuSecondsPer100k": per_row(cpu_took.as_secs_f64()) * 100_000.0,
        "slowestAppendMs": slowest.as_secs_f64() * 1_000.0,
        "fileBytesPerRow": per_row(bytes as f64),
        "usedBytesPerRow": per_row(usage.bytes as f64),
    }))
}

async fn chart(args: &Args, path: &Path) -> anyhow::Result<Value> {
    let store = Arc::new(SqliteHistory::open(path, SiteZone::UTC).await?);
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(END_MS)));
    let history = History::new(store, Arc::new(Fleet(args.devices)), clock, SiteZone::UTC);
    let (router, _) = history::router(history).split_for_parts();
    let mut report = serde_json::Map::new();
    for (name, days, resolution) in [
        ("monthByHour", 30, "hour"),
        ("yearByDay", 365, "day"),
        ("rawDay", 1, "raw"),
        ("autoWeek", 7, "auto"),
    ] {
        let from = END_MS - days * DAY_MS;
        let query = format!("history?from={from}&to={END_MS}&resolution={resolution}");
        let mut times = Vec::new();
        let mut points = 0;
        for n in 0..args.charts {
            let device = n * 7 % args.devices + 1;
            let (took, found) = time_chart(&router, device, &query).await?;
            times.push(took);
            points = points.max(found);
        }
        times.sort_unstable();
        let ms = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1_000.0;
        report.insert(
            name.to_owned(),
            json!({"points": points, "p50Ms": ms(50), "p99Ms": ms(99)}),
        );
    }
    Ok(report.into())
}

async fn time_chart(
    router: &Router,
    device: u32,
    query: &str,
) -> anyhow::Result<(Duration, usize)> {
    let request = Request::get(format!("/devices/strip-{device}/{query}"))
        .extension(Caller {
            origin: Origin::Server,
            role: Role::Admin,
            key: "bench".into(),
        })
        .body(Body::empty())?;
    let began = Instant::now();
    let response = router.clone().oneshot(request).await?;
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 28).await?;
    let took = began.elapsed();
    ensure!(status == StatusCode::OK, "{status}");
    let body: Value = serde_json::from_slice(&body)?;
    let points = body["points"].as_array().context("no points")?;
    Ok((took, points.len()))
}

/// Strips that report in turn, one reading each and round again.
struct Strips {
    devices: u32,
    period_ms: i64,
    tick: i64,
    ticks: i64,
    noise: u64,
    counters: Vec<i64>,
}

impl Strips {
    fn new(args: &Args) -> Self {
        let period_ms = i64::from(args.period_s.max(1)) * 1_000;
        Self {
            devices: args.devices,
            period_ms,
            tick: 0,
            ticks: i64::from(args.days) * DAY_MS / period_ms,
            noise: 1,
            counters: vec![100_000; args.devices as usize + 1],
        }
    }

    /// Whole rounds of at least `rows` samples, or what is left.
    fn next_batch(&mut self, rows: usize) -> Vec<DeviceSample> {
        let mut batch = Vec::with_capacity(rows + self.devices as usize);
        while batch.len() < rows && self.tick < self.ticks {
            let start = END_MS - (self.ticks - self.tick) * self.period_ms;
            for device in 1..=self.devices {
                batch.push(self.sample(device, start));
            }
            self.tick += 1;
        }
        batch
    }

    fn sample(&mut self, device: u32, start: i64) -> DeviceSample {
        self.noise = self
            .noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dice = self.noise >> 40;
        let power_dw = 1_500 + i32::try_from(dice % 700).unwrap_or(0);
        let counter = &mut self.counters[device as usize];
        *counter +=
            i64::from(power_dw) * self.period_ms / 3_600_000 + i64::from(dice.is_multiple_of(3));
        let current_ma = power_dw * 100 / 230;
        DeviceSample {
            device: DeviceKey(device),
            sample: Sample {
                socket: SocketId::STRIP,
                ts: Timestamp::from_millis(start + i64::from(device) % 997),
                values: Values {
                    power_dw: Some(power_dw),
                    voltage_dv: Some(2_290 + i32::try_from(dice % 40).unwrap_or(0)),
                    current_ma: Some(current_ma),
                    energy_dwh: Some(*counter),
                    power_factor_centi: Some(94),
                },
            },
        }
    }
}

/// Devices `strip-1` and up, with the same numbers as keys.
struct Fleet(u32);

impl Directory for Fleet {
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        (1..=self.0).contains(&key.0).then(|| strip(key.0))?
    }

    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        let number = id.as_str().strip_prefix("strip-")?.parse().ok()?;
        self.by_key(DeviceKey(number))
    }

    fn all(&self) -> Vec<Arc<Device>> {
        (1..=self.0).filter_map(strip).collect()
    }
}

fn strip(number: u32) -> Option<Arc<Device>> {
    Some(Arc::new(Device {
        key: DeviceKey(number),
        id: DeviceId::parse(&format!("strip-{number}")).ok()?,
        state: DeviceState::Active,
        settings: DeviceSettings::default(),
        reported: None,
        version: 1,
        created_at: Timestamp::from_millis(0),
    }))
}

/// What this process has used of the processors, to a hundredth of a second.
fn cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat
        .rsplit_once(')')
        .context("no name in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
