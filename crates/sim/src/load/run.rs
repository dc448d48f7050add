//! `--load`: every device publishes telemetry at QoS 1.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use dormouse_core::topic::Channel;
use dormouse_core::wire::{SocketStatusBody, StatusBody};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep};

use super::publisher::{Pace, Publisher, Record, Stamps, Tally};
use super::report::{LoadReport, cpu_seconds, per_second};
use super::template::{Shape, Template};
use super::{CONNECTING, Job, RETRY, block_on, in_threads};
use crate::clock::unix_ms;
use crate::round::decimals;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);
/// How long acknowledgements are waited for once publishing has stopped.
const DRAIN: Duration = Duration::from_secs(15);
/// Publishing stops here where nothing else says when.
const LONGEST: Duration = Duration::from_secs(86_400);

/// One thread's result.
struct Part {
    tally: Tally,
    start: Instant,
    payload_bytes: usize,
}

/// Runs the load and returns what it found.
pub(crate) async fn load(job: Job) -> anyhow::Result<LoadReport> {
    let record: Record = match &job.args.record {
        None => None,
        Some(path) => {
            let file =
                File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Some(Arc::new(Mutex::new(BufWriter::with_capacity(
                1 << 18,
                file,
            ))))
        }
    };
    let threads = usize::from(job.args.threads).min(job.devices.len());
    let barrier = Arc::new(Barrier::new(threads));
    let cpu_before_s = cpu_seconds();
    let (shared, written) = (job.clone(), record.clone());
    let parts = in_threads(&job, move |share| {
        block_on(run_share(
            shared.clone(),
            share,
            Arc::clone(&barrier),
            written.clone(),
        ))?
    })
    .await?;
    if let Some(record) = record {
        record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()?;
    }
    summarize(&job, parts, cpu_seconds() - cpu_before_s)
}

fn summarize(job: &Job, parts: Vec<Part>, cpu_s: f64) -> anyhow::Result<LoadReport> {
    let mut total = Tally::new()?;
    let (mut elapsed, mut payload_bytes) = (Duration::ZERO, 0);
    for Part {
        tally,
        start,
        payload_bytes: bytes,
    } in parts
    {
        payload_bytes = bytes;
        elapsed = elapsed.max(tally.last_ack.map_or(Duration::ZERO, |last| last - start));
        total.published += tally.published;
        total.acknowledged += tally.acknowledged;
        total.refused += tally.refused;
        total.unacknowledged += tally.unacknowledged;
        total.resent += tally.resent;
        total.errors.connect += tally.errors.connect;
        total.errors.lost += tally.errors.lost;
        total.latencies.add(&tally.latencies)?;
    }
    Ok(LoadReport {
        mode: "load",
        devices: job.devices.len(),
        window: job.args.window,
        payload_bytes,
        published: total.published,
        acknowledged: total.acknowledged,
        refused: total.refused,
        unacknowledged: total.unacknowledged,
        resent: total.resent,
        elapsed_s: decimals(elapsed.as_secs_f64(), 3),
        published_per_s: per_second(total.published, elapsed),
        acknowledged_per_s: per_second(total.acknowledged, elapsed),
        puback_ms: total.latencies.percentiles(),
        errors: total.errors,
        cpu_s: decimals(cpu_s, 2),
        cpu_s_per_100k: decimals(
            cpu_s * 100.0 / per_second(total.acknowledged, Duration::from_secs(1_000)).max(1e-9),
            3,
        ),
    })
}

async fn run_share(
    job: Job,
    share: Vec<usize>,
    barrier: Arc<Barrier>,
    record: Record,
) -> anyhow::Result<Part> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let connected: Vec<(usize, TcpStream)> = stream::iter(share)
        .map(|index| greet(&job, index, &tally))
        .buffer_unordered(CONNECTING)
        .filter_map(std::future::ready)
        .collect()
        .await;
    barrier.wait().await;
    let start = Instant::now();
    let mut payload_bytes = 0;
    let mut tasks = tokio::task::JoinSet::new();
    for (index, stream) in connected {
        let template = template(&job, index);
        payload_bytes = template.payload_bytes();
        let publisher = Publisher::new(
            job.devices[index].0.to_string(),
            template,
            job.args.window,
            pace(&job, index, start),
            Rc::clone(&tally),
            record.clone(),
        );
        tasks.spawn_local(live(
            job.clone(),
            index,
            stream,
            publisher,
            Rc::clone(&tally),
        ));
    }
    let nap = nap(&job, tasks.len());
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = doze(nap), if !nap.is_zero() => {}
    }
    let tally = Rc::into_inner(tally)
        .context("a device is still running")?
        .into_inner();
    Ok(Part {
        tally,
        start,
        payload_bytes,
    })
}

/// How long a thread that publishes flat out to `devices` sleeps between looks
/// at its sockets: a small part of the time in which all windows go round, so
/// that acknowledgements are read many at a time instead of one by one.
fn nap(job: &Job, devices: usize) -> Duration {
    const ROUNDS_PER_S: u64 = 2_000_000;
    const LONGEST_NAP: Duration = Duration::from_millis(5);
    if job.args.rate.is_some() {
        return Duration::ZERO;
    }
    let in_flight = devices as u64 * u64::from(job.args.window);
    let nap = Duration::from_micros(in_flight * 1_000_000 / ROUNDS_PER_S).min(LONGEST_NAP);
    if nap < Duration::from_millis(1) {
        Duration::ZERO
    } else {
        nap
    }
}

/// Puts the whole thread to sleep again and again; never returns.
async fn doze(nap: Duration) {
    loop {
        std::thread::sleep(nap);
        tokio::task::yield_now().await;
    }
}

/// Connects one device and reports its status where that was asked for.
async fn greet(job: &Job, index: usize, tally: &RefCell<Tally>) -> Option<(usize, TcpStream)> {
    let mut failed = 0;
    let link = job.connect_within(index, CONNECT_WITHIN, &mut failed).await;
    tally.borrow_mut().errors.connect += failed;
    let mut link = link?;
    if job.args.status_period_s.is_some() {
        let id = link
            .publish(&job.topic(index, Channel::Status), status(job), true)
            .ok()?;
        link.flush().await.ok()?;
        link.until_acknowledged(id).await.ok()?;
    }
    Some((index, link.into_stream()))
}

/// One device: publishes, connects again where it may, then lingers.
async fn live(
    job: Job,
    index: usize,
    mut stream: TcpStream,
    mut publisher: Publisher,
    tally: Rc<RefCell<Tally>>,
) {
    loop {
        let published = tokio::select! {
            published = publisher.publish_on(&mut stream) => published,
            () = job.cancel.cancelled() => Ok(()),
        };
        if published.is_ok() {
            break;
        }
        tally.borrow_mut().errors.lost += 1;
        if !job.args.reconnect {
            break;
        }
        let mut failed = 0;
        let link = tokio::select! {
            link = async {
                sleep(RETRY).await;
                job.connect_within(index, CONNECT_WITHIN, &mut failed).await
            } => link,
            () = job.cancel.cancelled() => None,
        };
        tally.borrow_mut().errors.connect += failed;
        match link {
            Some(link) => stream = link.into_stream(),
            None => break,
        }
    }
    publisher.finish();
    let linger = Duration::try_from_secs_f64(job.args.linger_s).unwrap_or(Duration::ZERO);
    tokio::select! {
        () = sleep(linger) => {}
        () = job.cancel.cancelled() => {}
    }
}

fn template(job: &Job, index: usize) -> Template {
    Template::new(Shape {
        topic: &job.topic(index, Channel::Telemetry),
        version: job.version(),
        payload_bytes: usize::try_from(job.args.payload_bytes).unwrap_or(200),
        sockets: job.args.sockets,
        boot: boot(),
        begin_ms: unix_ms() - i64::from(job.args.backdate_s) * 1_000,
    })
}

/// A boot count that grows from run to run.
pub(super) fn boot() -> u32 {
    u32::try_from(unix_ms() / 1_000 - 1_735_689_600).unwrap_or(1)
}

fn pace(job: &Job, index: usize, start: Instant) -> Pace {
    let devices = u32::try_from(job.devices.len()).unwrap_or(u32::MAX);
    let interval = job
        .args
        .rate
        .and_then(|rate| Duration::try_from_secs_f64(f64::from(devices) / rate).ok())
        .unwrap_or(Duration::ZERO);
    let position = u32::try_from(index).unwrap_or(u32::MAX);
    let count = match job.args.count {
        // The first devices take what does not divide evenly.
        Some(count) => {
            let extra = u64::from(u64::from(position) < count % u64::from(devices));
            u32::try_from(count / u64::from(devices) + extra).unwrap_or(u32::MAX)
        }
        None => u32::MAX,
    };
    let stop = start + job.duration.unwrap_or(LONGEST);
    let backdate_ms = i64::from(job.args.backdate_s) * 1_000;
    let stamps = match job.args.step_ms {
        Some(step_ms) => Stamps::Steps {
            from_ms: unix_ms() - backdate_ms,
            step_ms: i64::from(step_ms),
        },
        None => Stamps::Clock { backdate_ms },
    };
    Pace {
        start,
        stop,
        give_up: stop + DRAIN,
        count,
        interval,
        phase: interval / devices.max(1) * position,
        stamps,
    }
}

/// The status of a load device: one socket, on.
pub(super) fn status(job: &Job) -> Vec<u8> {
    let socket = dormouse_core::ids::SocketId::parse(1).ok();
    let body = StatusBody {
        v: Some(1),
        online: true,
        boot: Some(boot()),
        conn: Some(1),
        seq: Some(1),
        firmware: Some("load".to_owned()),
        period_s: job.args.status_period_s,
        sockets: socket
            .map(|socket_id| SocketStatusBody {
                socket_id,
                on: true,
            })
            .into_iter()
            .collect(),
        ..StatusBody::default()
    };
    serde_json::to_vec(&body).unwrap_or_default()
}
