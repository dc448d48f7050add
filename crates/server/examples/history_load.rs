//! Loads history in arrival order, then times charts of it over the API's own
//! router. Prints one JSON object.
//!
//! ```text
//! cargo run --release -p dormouse --example history_load -- \
//!     --devices 290 --days 60 --period-s 30 --batch 20000 \
//!     [--dir DIR | --database postgres://USER@HOST/DATABASE]
//! ```
//!
//! After the load, everything is compressed on TimescaleDB, as it would be
//! after a week, and put in order on PostgreSQL, as after two days.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use clap::Parser;
use dormouse::api::{Caller, history};
use dormouse::clock::SystemClock;
use dormouse::store::postgres::{
    DORMOUSE, Flavour, HISTORY, Maintenance, Postgres, PostgresHistory, PostgresSettings,
};
use dormouse::store::sqlite::SqliteHistory;
use dormouse_core::access::Role;
use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::device::{Device, DeviceSettings, DeviceState};
use dormouse_core::directory::Directory;
use dormouse_core::event::Origin;
use dormouse_core::ids::{DeviceId, DeviceKey, SocketId};
use dormouse_core::ports::history::{HistoryStore, HistoryUpkeep, SeriesId};
use dormouse_core::sample::{DeviceSample, Sample, Values};
use dormouse_core::services::history::History;
use dormouse_core::site::{LocalDay, SiteZone};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

/// The moment after the last sample: 2026-06-01T00:00:00Z.
const END_MS: i64 = 1_780_272_000_000;
const DAY_MS: i64 = 86_400_000;
/// Any series.
const SERIES: SeriesId = SeriesId {
    device: DeviceKey(1),
    socket: SocketId::STRIP,
};

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
    /// PostgreSQL or TimescaleDB instead of a file. A database that has
    /// history already is charted and not loaded again.
    #[arg(long, conflicts_with = "dir")]
    database: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let temporary = tempfile::tempdir()?;
    let dir = args.dir.as_deref().unwrap_or(temporary.path());
    let engine = match &args.database {
        Some(url) => Engine::postgres(url).await?,
        None => Engine::sqlite(dir.join("history.db")).await?,
    };
    let loaded = if engine.upkeep.usage().await?.first_day.is_some() {
        Value::Null
    } else {
        load(&args, &engine).await?
    };
    let charted = chart(&args, Arc::clone(&engine.store)).await?;
    engine.close().await;
    let report = json!({"engine": engine.name, "load": loaded, "charts": charted});
    #[expect(clippy::print_stdout, reason = "the report is the product")]
    {
        println!("{report}");
    }
    Ok(())
}

/// What keeps the history.
struct Engine {
    name: &'static str,
    store: Arc<dyn HistoryStore>,
    upkeep: Arc<dyn HistoryUpkeep>,
    at: At,
}

enum At {
    File(PathBuf, Arc<SqliteHistory>),
    Database(Arc<PostgresHistory>),
}

impl Engine {
    async fn sqlite(path: PathBuf) -> anyhow::Result<Self> {
        let store = Arc::new(SqliteHistory::open(&path, SiteZone::UTC).await?);
        Ok(Self {
            name: "sqlite",
            store: store.clone(),
            upkeep: store.clone(),
            at: At::File(path, store),
        })
    }

    async fn postgres(url: &str) -> anyhow::Result<Self> {
        let settings = PostgresSettings {
            url: url.to_owned(),
            password_file: None,
            pool_max: 4,
            connect_timeout: Duration::from_secs(10),
            node: "history-load".to_owned(),
        };
        let clock = Arc::new(SystemClock::start());
        let db = Postgres::open(&settings, clock, &[DORMOUSE, HISTORY]).await?;
        let store = Arc::new(PostgresHistory::open(db, SiteZone::UTC).await?);
        Ok(Self {
            name: match store.flavour() {
                Flavour::Plain => "postgresql",
                Flavour::Timescale => "timescaledb",
            },
            store: store.clone(),
            upkeep: store.clone(),
            at: At::Database(store),
        })
    }

    /// Brings everything into its final place; bytes on disk.
    async fn settle(&self) -> anyhow::Result<u64> {
        match &self.at {
            At::File(path, store) => {
                store.rebuild(SERIES, LocalDay::from_number(0)).await?;
                Ok(std::fs::metadata(path)?.len())
            }
            At::Database(store) => {
                let mut maintenance = Maintenance::new(Arc::clone(store));
                let later = Timestamp::from_millis(END_MS + 60 * DAY_MS);
                let report = maintenance.run(later).await;
                ensure!(report.is_well(), "{}", report.detail());
                Ok(store.usage().await?.bytes)
            }
        }
    }

    async fn close(&self) {
        if let At::File(_, store) = &self.at {
            store.close().await;
        }
    }
}

async fn load(args: &Args, engine: &Engine) -> anyhow::Result<Value> {
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
        rows += engine.store.append(batch, None).await?.new as u64;
        slowest = slowest.max(appended.elapsed());
    }
    let (took, cpu_took) = (began.elapsed() - making, cpu()? - cpu_began - making);
    let loaded = engine.upkeep.usage().await?.bytes;
    let settling = Instant::now();
    let bytes = engine.settle().await?;
    let settled = settling.elapsed();
    let usage = engine.upkeep.usage().await?;
    let per_row = |value: f64| value / rows as f64;
    Ok(json!({
        "rows": rows,
        "rowsPerSecond": (rows as f64 / took.as_secs_f64()).round(),
        "cpuSecondsPer100k": per_row(cpu_took.as_secs_f64()) * 100_000.0,
        "slowestAppendMs": slowest.as_secs_f64() * 1_000.0,
        "loadedBytesPerRow": per_row(loaded as f64),
        "settleSeconds": settled.as_secs_f64(),
        "fileBytesPerRow": per_row(bytes as f64),
        "usedBytesPerRow": per_row(usage.bytes as f64),
    }))
}

async fn chart(args: &Args, store: Arc<dyn HistoryStore>) -> anyhow::Result<Value> {
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
