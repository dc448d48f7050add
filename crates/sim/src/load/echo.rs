//! `--echo`: every device acknowledges every command at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use dormouse_core::topic::Channel;
use dormouse_core::wire::{AckBody, AckStatus, Action, CommandBody};
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::sleep;

use super::report::{EchoReport, Errors, cpu_seconds};
use super::run::status;
use super::{CONNECTING, Job, block_on, in_threads};
use crate::cli::print_line;
use crate::mqtt::{Incoming, Link, LinkError};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    commands: u64,
    acknowledged: u64,
    errors: Errors,
}

/// Prints `{"ready":N}` once everybody listens, and returns the counts when the
/// job's time is over.
pub(crate) async fn echo(job: Job) -> anyhow::Result<EchoReport> {
    let cpu_before_s = cpu_seconds();
    let ready = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (shared, listening) = (job.clone(), ready.clone());
    let working = in_threads(&job, move |share| {
        block_on(run_share(shared.clone(), share, listening.clone()))
    });
    let devices = u32::try_from(job.devices.len())?;
    let announcing = async {
        tokio::select! {
            permits = ready.acquire_many(devices) => {
                permits?.forget();
                print_line(&serde_json::json!({"ready": devices}))
            }
            () = job.cancel.cancelled() => Ok(()),
        }
    };
    let (parts, announced) = futures_util::future::join(working, announcing).await;
    announced?;
    let mut total = Tally::default();
    for part in parts? {
        total.commands += part.commands;
        total.acknowledged += part.acknowledged;
        total.errors.connect += part.errors.connect;
        total.errors.lost += part.errors.lost;
    }
    Ok(EchoReport {
        mode: "echo",
        devices: job.devices.len(),
        commands: total.commands,
        acknowledged: total.acknowledged,
        errors: total.errors,
        cpu_s: cpu_seconds() - cpu_before_s,
    })
}

async fn run_share(
    job: Job,
    share: Vec<usize>,
    ready: std::sync::Arc<tokio::sync::Semaphore>,
) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let mut tasks = tokio::task::JoinSet::new();
    let links: Vec<_> = stream::iter(share)
        .map(|index| greet(&job, index, &tally))
        .buffer_unordered(CONNECTING)
        .collect()
        .await;
    for (index, link) in links {
        ready.add_permits(1);
        let Some(link) = link else { continue };
        let (job, tally) = (job.clone(), Rc::clone(&tally));
        tasks.spawn_local(async move {
            let over = async {
                match job.duration {
                    Some(duration) => sleep(duration).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                lost = answer(&job, index, link, &tally) => tally.borrow_mut().errors.lost += u64::from(lost.is_err()),
                () = over => {}
                () = job.cancel.cancelled() => {}
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    *tally.borrow()
}

async fn greet(job: &Job, index: usize, tally: &RefCell<Tally>) -> (usize, Option<Link>) {
    let mut failed = 0;
    let link = match job.connect_within(index, CONNECT_WITHIN, &mut failed).await {
        Some(link) => subscribe(job, index, link).await.ok(),
        None => None,
    };
    let mut tally = tally.borrow_mut();
    tally.errors.connect += failed;
    tally.errors.lost += u64::from(link.is_none());
    (index, link)
}

async fn subscribe(job: &Job, index: usize, mut link: Link) -> Result<Link, LinkError> {
    link.subscribe(&job.topic(index, Channel::Cmd))?;
    let id = link.publish(&job.topic(index, Channel::Status), status(job), true)?;
    link.flush().await?;
    link.until_acknowledged(id).await?;
    Ok(link)
}

/// Acknowledges commands, all that one read brought in one write.
async fn answer(
    job: &Job,
    index: usize,
    mut link: Link,
    tally: &RefCell<Tally>,
) -> Result<(), LinkError> {
    let topic = job.topic(index, Channel::Ack);
    let (boot, mut seq) = (super::run::boot(), 1);
    loop {
        let mut packet = Some(link.next().await?);
        while let Some(incoming) = packet {
            match incoming {
                Incoming::Message { payload, id, .. } => {
                    if let Some(id) = id {
                        link.acknowledge(id)?;
                    }
                    if let Ok(command) = serde_json::from_slice::<CommandBody>(&payload) {
                        seq += 1;
                        link.publish(&topic, ack(&command, boot, seq), false)?;
                        tally.borrow_mut().commands += 1;
                    }
                }
                Incoming::Acknowledged { .. } => tally.borrow_mut().acknowledged += 1,
                Incoming::Closed { code } => return Err(LinkError::Closed(Some(code))),
                Incoming::Subscribed { .. } | Incoming::Pong | Incoming::Connected { .. } => {}
            }
            packet = link.buffered()?;
        }
        link.flush().await?;
    }
}

fn ack(command: &CommandBody, boot: u32, seq: u32) -> Vec<u8> {
    let body = AckBody {
        cmd_id: command.cmd_id,
        status: AckStatus::Success,
        reason: None,
        socket_id: command.socket_id,
        on: Some(command.action != Action::Off),
        boot: Some(boot),
        seq: Some(seq),
    };
    serde_json::to_vec(&body).unwrap_or_default()
}
