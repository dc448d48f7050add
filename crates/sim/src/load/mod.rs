//! Load for measurements: many devices in few threads, cheap per message.

mod echo;
mod publisher;
mod report;
mod run;
mod sink;
mod storm;
mod template;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use dormouse_core::ids::DeviceId;
use dormouse_core::topic::{Channel, Topics};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::fleet::Credentials;
use crate::mqtt::{Hello, Link, LinkError, Version};

pub(crate) use echo::echo;
pub(crate) use run::load;
pub(crate) use sink::sink;
pub(crate) use storm::storm;

/// The keep-alive of load connections, seconds; long, so that pings do not count.
const KEEP_ALIVE_S: u16 = 600;
/// Connections being made at one time, in one thread.
const CONNECTING: usize = 256;
/// The wait before a failed connection is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Arguments of the load modes.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Publish telemetry at QoS 1 and print one line of JSON
    #[arg(long, group = "mode")]
    pub load: bool,
    /// Connect, subscribe and report a status, all devices at once; print one line of JSON, then hold
    #[arg(long, group = "mode")]
    pub storm: bool,
    /// Connect and subscribe only; print one line of JSON, then hold
    #[arg(long, group = "mode")]
    pub idle: bool,
    /// Acknowledge every command at once
    #[arg(long, group = "mode")]
    pub echo: bool,
    /// Subscribe to all telemetry with the first device's credentials, and count it
    #[arg(long, group = "mode")]
    pub sink: bool,
    /// Messages in flight per device
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub window: u16,
    /// Size of a telemetry body, bytes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=32_768))]
    pub payload_bytes: u32,
    /// Sockets that report beside the strip itself
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=32))]
    pub sockets: u8,
    /// Samples per second of all devices together; flat out without it
    #[arg(long)]
    pub rate: Option<f64>,
    /// Samples of all devices together; without it, until --duration-s is over
    #[arg(long)]
    pub count: Option<u64>,
    /// Stamp samples this many seconds before the present
    #[arg(long, default_value_t = 0)]
    pub backdate_s: u32,
    /// Stamp the samples of a device this far apart, milliseconds, instead of by the clock
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(1..))]
    pub step_ms: Option<u32>,
    /// Report a status with this period (seconds) before publishing
    #[arg(long, value_name = "SECONDS")]
    pub status_period_s: Option<f64>,
    /// Keep the connections open in silence for so long after publishing
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS")]
    pub linger_s: f64,
    /// Connect again after a lost connection and publish again what was not acknowledged
    #[arg(long)]
    pub reconnect: bool,
    /// Write every acknowledged sample to this file, as deviceId,seq,ts
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Speak MQTT 5 instead of 3.1.1
    #[arg(long)]
    pub mqtt5: bool,
    /// Threads to spread the devices over
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// What every load mode needs.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) broker: String,
    pub(crate) topics: Topics,
    pub(crate) devices: Arc<[(DeviceId, Credentials)]>,
    pub(crate) args: LoadArgs,
    pub(crate) duration: Option<Duration>,
    pub(crate) cancel: CancellationToken,
}

impl Job {
    /// Checks the devices' names.
    pub(crate) fn new(
        broker: String,
        root: &str,
        members: Vec<Credentials>,
        args: LoadArgs,
        duration: Option<Duration>,
        cancel: CancellationToken,
    ) -> anyhow::Result<Self> {
        let devices: Vec<_> = members
            .into_iter()
            .map(|credentials| {
                let id = DeviceId::parse(&credentials.device_id)
                    .with_context(|| format!("device id {:?}", credentials.device_id))?;
                Ok((id, credentials))
            })
            .collect::<anyhow::Result<_>>()?;
        ensure!(!devices.is_empty(), "no devices");
        let topics = Topics::new(root).context("--root")?;
        raise_file_limit(devices.len());
        Ok(Self {
            broker,
            topics,
            devices: devices.into(),
            args,
            duration,
            cancel,
        })
    }

    fn version(&self) -> Version {
        if self.args.mqtt5 {
            Version::V5
        } else {
            Version::V3
        }
    }

    fn topic(&self, index: usize, channel: Channel) -> String {
        self.topics.of(&self.devices[index].0, channel)
    }

    /// Connects device `index`.
    async fn connect(&self, index: usize) -> Result<Link, LinkError> {
        let (id, credentials) = &self.devices[index];
        let hello = Hello {
            version: self.version(),
            client_id: id.to_string(),
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            keep_alive_s: KEEP_ALIVE_S,
            will: None,
        };
        Link::connect(&self.broker, &hello).await
    }

    /// Connects device `index`, however long it takes, until `within` is over;
    /// counts failures into `failed`.
    async fn connect_within(
        &self,
        index: usize,
        within: Duration,
        failed: &mut u64,
    ) -> Option<Link> {
        timeout(within, async {
            loop {
                match self.connect(index).await {
                    Ok(link) => return link,
                    Err(_) => *failed += 1,
                }
                sleep(RETRY).await;
            }
        })
        .await
        .ok()
    }
}

/// Runs `work` for each share of the devices in a thread of its own and
/// collects what they return.
async fn in_threads<T, F>(job: &Job, work: F) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Fn(Vec<usize>) -> anyhow::Result<T> + Send + Sync + Clone + 'static,
{
    let threads = usize::from(job.args.threads).min(job.devices.len());
    let mut results = Vec::new();
    for thread in 0..threads {
        let share: Vec<_> = (thread..job.devices.len()).step_by(threads).collect();
        let (done, result) = oneshot::channel();
        let work = work.clone();
        std::thread::Builder::new()
            .name(format!("load-{thread}"))
            .spawn(move || {
                // Nobody listens only when the whole run was given up.
                let _ = done.send(work(share));
            })?;
        results.push(result);
    }
    let mut collected = Vec::new();
    for result in results {
        collected.push(result.await.context("a load thread died")??);
    }
    Ok(collected)
}

/// Runs a future on this thread with local tasks.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}

/// Allows this process as many open files as the system lets it have; a limit
/// that is too low shows as failed connections.
fn raise_file_limit(devices: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let enough = limit
        .current
        .is_none_or(|current| current > devices as u64 + 64);
    if !enough && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(devices, "cannot raise the limit of open files");
    }
}

#[cfg(test)]
mod tests;
