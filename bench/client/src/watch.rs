//! Watches the live socket: how old samples are when they arrive, and when
//! devices are declared offline.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::time::sleep;

use crate::http::Server;
use crate::live::{Live, LiveMessage};
use crate::summary::Latencies;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to subscribe to
    #[arg(long, default_value = "fleet")]
    topic: Vec<String>,
    /// For how long
    #[arg(long)]
    duration_s: f64,
    /// Write each change of presence to this file, as deviceId,type,unixMs
    #[arg(long)]
    presence: Option<PathBuf>,
}

pub(crate) async fn run(server: &Server, args: Args) -> anyhow::Result<()> {
    let topics: Vec<_> = args.topic.iter().map(String::as_str).collect();
    let mut live = Live::subscribe(server, &topics).await?;
    crate::print_line(&json!({"ready": true}))?;
    let mut ages = Latencies::new()?;
    let mut presence = args.presence.map(std::fs::File::create).transpose()?;
    let (mut messages, mut samples) = (0_u64, 0_u64);
    let over = sleep(Duration::try_from_secs_f64(args.duration_s)?);
    tokio::pin!(over);
    loop {
        let message: LiveMessage = tokio::select! {
            message = live.next() => message?,
            () = &mut over => break,
        };
        let now = since_epoch();
        messages += 1;
        for stamp in &message.samples {
            samples += 1;
            let stamp = Duration::from_millis(u64::try_from(stamp.ts).unwrap_or(0));
            ages.record(now.saturating_sub(stamp));
        }
        if let (Some(file), "DEVICE_OFFLINE" | "DEVICE_ONLINE") =
            (&mut presence, message.kind.as_str())
        {
            let device_id = message.device_id.unwrap_or_default();
            writeln!(file, "{device_id},{},{}", message.kind, now.as_millis())?;
        }
    }
    crate::print_line(&json!({"messages": messages, "samples": samples, "ageMs": ages.summary()}))
}

/// The wall clock, which samples are stamped by.
#[expect(
    clippy::disallowed_methods,
    reason = "stamps of the load generator are wall-clock times"
)]
fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
