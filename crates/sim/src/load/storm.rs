//! `--storm` and `--idle`: every device connects at once, then stays.

use std::time::Duration;

use dormouse_core::topic::Channel;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::report::{Errors, Latencies, StormReport, cpu_seconds, millis};
use super::run::status;
use super::{Job, KEEP_ALIVE_S, RETRY, block_on, in_threads};
use crate::mqtt::{Incoming, Link, LinkError};

/// How long everybody has to be connected and heard.
const WITHIN: Duration = Duration::from_secs(120);

/// What one device reports when it is through, or when its attempt failed.
#[derive(Debug)]
enum News {
    Failed,
    Through {
        connected: Duration,
        heard: Duration,
    },
}

/// Connects everybody, calls `report` once, then holds the connections until
/// the job's time is over.
pub(crate) async fn storm(
    job: Job,
    report: impl FnOnce(&StormReport) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let cpu_before_s = cpu_seconds();
    // Bounded by the devices: each sends one success, and failures wait.
    let (news, mut inbox) = mpsc::channel(job.devices.len());
    let over = job.cancel.child_token();
    let start = Instant::now();
    let (shared, closing) = (job.clone(), over.clone());
    let holding = in_threads(&job, move |share| {
        block_on(run_share(
            shared.clone(),
            share,
            start,
            news.clone(),
            closing.clone(),
        ))
    });
    let watching = async {
        let found = collect(&job, &mut inbox, cpu_before_s).await?;
        report(&found)?;
        let hold = async {
            match job.duration {
                Some(duration) => sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hold => {}
            () = over.cancelled() => {}
        }
        over.cancel();
        // Late failures must not block the threads that are about to end.
        inbox.close();
        anyhow::Ok(())
    };
    let (held, watched) = futures_util::future::join(holding, watching).await;
    held?;
    watched
}

async fn collect(
    job: &Job,
    inbox: &mut mpsc::Receiver<News>,
    cpu_before_s: f64,
) -> anyhow::Result<StormReport> {
    let mut latencies = Latencies::new()?;
    let mut errors = Errors::default();
    let (mut through, mut connected_at, mut heard_at) = (0_u64, Duration::ZERO, Duration::ZERO);
    let deadline = sleep(WITHIN);
    tokio::pin!(deadline);
    while through < job.devices.len() as u64 {
        tokio::select! {
            news = inbox.recv() => match news {
                Some(News::Failed) => errors.connect += 1,
                Some(News::Through { connected, heard }) => {
                    through += 1;
                    latencies.record(connected);
                    connected_at = connected_at.max(connected);
                    heard_at = heard_at.max(heard);
                }
                None => break,
            },
            () = &mut deadline => break,
            () = job.cancel.cancelled() => break,
        }
    }
    Ok(StormReport {
        mode: if job.args.storm { "storm" } else { "idle" },
        devices: job.devices.len(),
        connected: through,
        heard: if job.args.storm { through } else { 0 },
        all_connected_ms: millis(connected_at),
        all_heard_ms: millis(heard_at),
        connack_ms: latencies.percentiles(),
        errors,
        cpu_s: cpu_seconds() - cpu_before_s,
    })
}

async fn run_share(
    job: Job,
    share: Vec<usize>,
    start: Instant,
    news: mpsc::Sender<News>,
    over: CancellationToken,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for index in share {
        let (job, news, over) = (job.clone(), news.clone(), over.clone());
        tasks.spawn_local(async move {
            tokio::select! {
                () = live(&job, index, start, &news) => {}
                () = over.cancelled() => {}
            }
        });
    }
    drop(news);
    while tasks.join_next().await.is_some() {}
}

/// One device: gets through, however often it has to try, then stays.
async fn live(job: &Job, index: usize, start: Instant, news: &mpsc::Sender<News>) {
    let mut link = loop {
        match get_through(job, index, start).await {
            Ok((link, through)) => {
                if news.send(through).await.is_err() {
                    return;
                }
                break link;
            }
            Err(_) if news.send(News::Failed).await.is_err() => return,
            Err(_) => sleep(RETRY).await,
        }
    };
    let mut ping = interval(Duration::from_secs(u64::from(KEEP_ALIVE_S) / 2));
    ping.tick().await;
    loop {
        tokio::select! {
            packet = link.next() => if packet.is_err() { return },
            _ = ping.tick() => {
                link.ping();
                if link.flush().await.is_err() { return }
            }
        }
    }
}

async fn get_through(job: &Job, index: usize, start: Instant) -> Result<(Link, News), LinkError> {
    let mut link = job.connect(index).await?;
    let connected = start.elapsed();
    link.subscribe(&job.topic(index, Channel::Cmd))?;
    let last = if job.args.storm {
        Some(link.publish(&job.topic(index, Channel::Status), status(job), true)?)
    } else {
        None
    };
    link.flush().await?;
    loop {
        match link.next().await? {
            Incoming::Subscribed { .. } if last.is_none() => break,
            Incoming::Acknowledged { id, .. } if Some(id) == last => break,
            Incoming::Closed { code } => return Err(LinkError::Closed(Some(code))),
            Incoming::Subscribed { .. }
            | Incoming::Acknowledged { .. }
            | Incoming::Message { .. }
            | Incoming::Pong
            | Incoming::Connected { .. } => {}
        }
    }
    Ok((
        link,
        News::Through {
            connected,
            heard: start.elapsed(),
        },
    ))
}
