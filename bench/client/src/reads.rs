//! Reads paths again and again, at a rate that the server allows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::http::{Connection, Server};
use crate::summary::Latencies;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to read, in turn
    #[arg(long, required = true)]
    path: Vec<String>,
    /// Reads to measure
    #[arg(long, default_value_t = 200)]
    count: u32,
    /// Reads before that
    #[arg(long, default_value_t = 20)]
    warmup: u32,
    /// Reads per second
    #[arg(long, default_value_t = 15.0)]
    rate: f64,
}

pub(crate) async fn run(server: &Server, args: Args) -> anyhow::Result<()> {
    let mut connection = Connection::open(server).await?;
    let mut latencies = Latencies::new()?;
    let mut statuses = BTreeMap::<String, u32>::new();
    let mut bytes = 0;
    let mut ticks = interval(Duration::try_from_secs_f64(1.0 / args.rate)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (number, path) in (0..args.warmup + args.count).zip(args.path.iter().cycle()) {
        ticks.tick().await;
        let start = Instant::now();
        let response = connection.get(path).await?;
        if number >= args.warmup {
            latencies.record(start.elapsed());
            bytes = response.body.len();
            *statuses.entry(response.status.to_string()).or_default() += 1;
        }
    }
    crate::print_line(&json!({"ms": latencies.summary(), "statuses": statuses, "bodyBytes": bytes}))
}
