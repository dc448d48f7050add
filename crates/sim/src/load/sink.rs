//! `--sink`: one subscriber that takes all telemetry at QoS 1 and stores nothing.

use std::time::Duration;

use dormouse_core::topic::Channel;
use tokio::time::{Instant, sleep};

use super::report::{Errors, SinkReport, cpu_seconds, per_second};
use super::{Job, block_on, in_threads};
use crate::cli::print_line;
use crate::mqtt::{Incoming, Link, LinkError};
use crate::round::decimals;

/// Prints `{"ready":1}` once subscribed, and returns what was received when the
/// job's time is over.
pub(crate) async fn sink(job: Job) -> anyhow::Result<SinkReport> {
    let cpu_before_s = cpu_seconds();
    let shared = job.clone();
    let parts = in_threads(&job, move |_| block_on(run(shared.clone()))?).await?;
    let Some(Tally {
        received,
        first,
        last,
        lost,
    }) = parts.into_iter().next()
    else {
        anyhow::bail!("the subscriber's thread did not run");
    };
    let elapsed = last
        .zip(first)
        .map_or(Duration::ZERO, |(last, first)| last - first);
    Ok(SinkReport {
        mode: "sink",
        received,
        elapsed_s: decimals(elapsed.as_secs_f64(), 3),
        received_per_s: per_second(received, elapsed),
        errors: Errors {
            connect: 0,
            lost: u64::from(lost),
        },
        cpu_s: cpu_seconds() - cpu_before_s,
    })
}

#[derive(Debug, Default)]
struct Tally {
    received: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    lost: bool,
}

async fn run(job: Job) -> anyhow::Result<Tally> {
    let mut link = job.connect(0).await?;
    let filter = format!("{}/+/{}", job.topics.root(), Channel::Telemetry.as_str());
    link.subscribe(&filter)?;
    link.flush().await?;
    let mut tally = Tally::default();
    let over = async {
        match job.duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        lost = take(&mut link, &mut tally) => {
            tracing::warn!(?lost, "the subscriber lost its connection");
            tally.lost = true;
        }
        () = over => {}
        () = job.cancel.cancelled() => {}
    }
    Ok(tally)
}

/// Takes messages for ever; all that one read brought is acknowledged in one write.
async fn take(link: &mut Link, tally: &mut Tally) -> Result<(), LinkError> {
    loop {
        let mut packet = Some(link.next().await?);
        let before = tally.received;
        while let Some(incoming) = packet {
            match incoming {
                Incoming::Message { id, .. } => {
                    if let Some(id) = id {
                        link.acknowledge(id)?;
                    }
                    tally.received += 1;
                }
                Incoming::Subscribed { .. } => {
                    // Standard output that nobody reads is no reason to stop.
                    let _ = print_line(&serde_json::json!({"ready": 1}));
                }
                Incoming::Closed { code } => return Err(LinkError::Closed(Some(code))),
                Incoming::Acknowledged { .. } | Incoming::Pong | Incoming::Connected { .. } => {}
            }
            packet = link.buffered()?;
        }
        if tally.received > before {
            let now = Instant::now();
            tally.first.get_or_insert(now);
            tally.last = Some(now);
        }
        link.flush().await?;
    }
}
