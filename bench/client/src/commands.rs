//! Sends commands, each to the next device, and waits until the live socket
//! says that it succeeded.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::http::{Connection, Server};
use crate::live::Live;
use crate::summary::Latencies;

/// How long one command may take before it is counted as lost.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File with a device id on each line
    #[arg(long)]
    ids: PathBuf,
    /// Commands in flight
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
    /// Commands to send
    #[arg(long)]
    count: u64,
    /// Commands sent first and not measured
    #[arg(long, default_value_t = 100)]
    warmup: u64,
}

/// What was heard of a command, or who waits to hear it.
#[derive(Debug)]
enum Word {
    Heard(String, Instant),
    Awaited(oneshot::Sender<(String, Instant)>),
}

#[derive(Debug)]
struct Shared {
    ids: Vec<String>,
    next: Cell<u64>,
    end: u64,
    warmup: u64,
    words: RefCell<HashMap<Uuid, Word>>,
    posted: RefCell<Latencies>,
    settled: RefCell<Latencies>,
    outcomes: RefCell<BTreeMap<String, u64>>,
    measured_from: Cell<Option<Instant>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    cmd_id: Uuid,
}

pub(crate) async fn run(server: &Server, args: Args) -> anyhow::Result<()> {
    let ids: Vec<_> = std::fs::read_to_string(&args.ids)?
        .lines()
        .map(str::to_owned)
        .collect();
    if ids.is_empty() {
        bail!("--ids: no device ids in it");
    }
    let shared = Rc::new(Shared {
        ids,
        next: Cell::new(0),
        end: args.warmup + args.count,
        warmup: args.warmup,
        words: RefCell::default(),
        posted: RefCell::new(Latencies::new()?),
        settled: RefCell::new(Latencies::new()?),
        outcomes: RefCell::default(),
        measured_from: Cell::new(None),
    });
    let live = Live::subscribe(server, &["fleet"]).await?;
    let mut workers = JoinSet::new();
    for _ in 0..args.concurrency {
        let connection = Connection::open(server).await?;
        workers.spawn_local(work(Rc::clone(&shared), connection));
    }
    let working = async {
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = listen(&shared, live) => bail!("the live socket ended: {ended:?}"),
        worked = working => worked?,
    }
    let elapsed = shared
        .measured_from
        .get()
        .map_or(Duration::ZERO, |from| from.elapsed());
    let per_s = f64::from(u32::try_from(args.count)?) / elapsed.as_secs_f64().max(1e-9);
    let report = json!({
        "commands": args.count,
        "concurrency": args.concurrency,
        "elapsedS": elapsed.as_secs_f64(),
        "commandsPerS": per_s.round(),
        "acceptedMs": shared.posted.borrow().summary(),
        "succeededMs": shared.settled.borrow().summary(),
        "outcomes": *shared.outcomes.borrow(),
    });
    crate::print_line(&report)
}

/// Passes on what the live socket says of commands that are final.
async fn listen(shared: &Shared, mut live: Live) -> anyhow::Result<()> {
    loop {
        let message = live.next().await?;
        let (Some(id), Some(state)) = (message.cmd_id, message.state) else {
            continue;
        };
        if state == "pending" {
            continue;
        }
        let now = Instant::now();
        let mut words = shared.words.borrow_mut();
        match words.remove(&id) {
            // Nobody listens once its patience is over.
            Some(Word::Awaited(waiting)) => drop(waiting.send((state, now))),
            Some(Word::Heard(..)) | None => {
                words.insert(id, Word::Heard(state, now));
            }
        }
    }
}

async fn work(shared: Rc<Shared>, mut connection: Connection) -> anyhow::Result<()> {
    loop {
        let number = shared.next.get();
        if number >= shared.end {
            return Ok(());
        }
        shared.next.set(number + 1);
        let measured = number >= shared.warmup;
        if number == shared.warmup {
            shared.measured_from.set(Some(Instant::now()));
        }
        let outcome = command(&shared, &mut connection, number, measured).await?;
        if measured {
            *shared.outcomes.borrow_mut().entry(outcome).or_default() += 1;
        }
    }
}

/// Sends command `number` and waits for its end.
async fn command(
    shared: &Shared,
    connection: &mut Connection,
    number: u64,
    measured: bool,
) -> anyhow::Result<String> {
    let count = shared.ids.len() as u64;
    let id = &shared.ids[usize::try_from(number % count)?];
    let action = if (number / count).is_multiple_of(2) {
        "off"
    } else {
        "on"
    };
    let path = format!("/api/v1/devices/{id}/sockets/1/commands");
    let start = Instant::now();
    let response = connection
        .post(&path, &format!("{{\"action\":\"{action}\"}}"))
        .await?;
    let posted = start.elapsed();
    if response.status != 202 {
        return Ok(format!("http {}", response.status));
    }
    let Accepted { cmd_id } =
        serde_json::from_slice(&response.body).context("the answer has no cmdId")?;
    let waiting = {
        let mut words = shared.words.borrow_mut();
        match words.remove(&cmd_id) {
            Some(Word::Heard(state, at)) => Ok((state, at)),
            Some(Word::Awaited(_)) | None => {
                let (tell, told) = oneshot::channel();
                words.insert(cmd_id, Word::Awaited(tell));
                Err(told)
            }
        }
    };
    let (state, at) = match waiting {
        Ok(heard) => heard,
        Err(told) => match timeout(PATIENCE, told).await {
            Ok(Ok(heard)) => heard,
            Ok(Err(_)) | Err(_) => return Ok("never heard of again".to_owned()),
        },
    };
    if measured {
        shared.posted.borrow_mut().record(posted);
        shared.settled.borrow_mut().record(at - start);
    }
    Ok(state)
}
