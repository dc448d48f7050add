//! `dormouse serve`.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{ConfigArgs, print};
use crate::app::{App, Place};
use crate::config::listen_address;
use crate::observe;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// Print one line of JSON with the addresses on standard output once ready
    #[arg(long)]
    ready_json: bool,
}

/// Where the data is and where to listen.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PlaceArgs {
    /// Folder for the databases and the journal
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Where the page and the API listen, such as 0.0.0.0:8080; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    http: Option<SocketAddr>,
    /// Where strips connect, such as 0.0.0.0:1883; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    mqtt: Option<SocketAddr>,
}

impl From<PlaceArgs> for Place {
    fn from(args: PlaceArgs) -> Self {
        Self {
            data: args.data,
            http: args.http,
            mqtt: args.mqtt,
        }
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let config = args.config.load()?;
    observe::start(&config.log)?;
    block_on(async move {
        let stop = stop_token()?;
        let app = App::build(config, args.place.into()).await?;
        let (http, mqtt) = (app.http_addr()?, app.mqtt_addr()?);
        tracing::info!(%http, %mqtt, "ready");
        if let Some(path) = app.setup_path() {
            tell(&format!(
                "Create the administrator: http://{}{path}",
                browsable(http)
            ));
        }
        if args.ready_json {
            print(&json!({"http": http.to_string(), "mqtt": mqtt}).to_string())?;
        }
        app.run(stop.cancelled_owned()).await
    })
}

/// An address that a browser on this machine can open.
pub(super) fn browsable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    addr
}

/// The same for an address that may also be a name.
pub(super) fn reachable(address: String) -> String {
    match address.parse() {
        Ok(addr) => browsable(addr).to_string(),
        Err(_) => address,
    }
}

/// Says something to the person at the terminal, whatever the log's level.
#[expect(clippy::print_stderr, reason = "not a log line: for the person there")]
pub(super) fn tell(text: &str) {
    eprintln!("{text}");
}

/// Lets the process hold as many connections as the system allows it: the
/// usual soft limit of 1,024 files is far below a fleet.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Runs `work` on the async runtime.
pub(super) fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    raise_file_limit();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?
        .block_on(work)
}

/// Cancelled by the first SIGINT or SIGTERM; a second one ends the process.
pub(super) fn stop_token() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "lives as long as the process and holds nothing to drain"
    )]
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if told.is_cancelled() {
                #[expect(clippy::exit, reason = "asked twice")]
                std::process::exit(130);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
