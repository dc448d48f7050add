//! `dormouse broker`: configurations of external brokers.

mod emqx;
mod mosquitto;
mod output;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::ensure;
use clap::Subcommand;
use dormouse_core::topic::Topics;

use crate::brokers::{AccountName, Accounts, ClientCertificates, Rules, TlsListener};
use crate::config::Config;
use output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    broker: Broker,
}

#[derive(Debug, Subcommand)]
enum Broker {
    /// EMQX 5.8
    Emqx {
        #[command(subcommand)]
        command: EmqxCommand,
    },
    /// Mosquitto 2
    Mosquitto {
        #[command(subcommand)]
        command: MosquittoCommand,
    },
}

#[derive(Debug, Subcommand)]
enum EmqxCommand {
    /// Write its configuration for this site
    Render(emqx::Args),
}

#[derive(Debug, Subcommand)]
enum MosquittoCommand {
    /// Write its configuration, password and ACL file for this site
    Render(mosquitto::Args),
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    match args.broker {
        Broker::Emqx { command } => match command {
            EmqxCommand::Render(args) => emqx::render(&args),
        },
        Broker::Mosquitto { command } => match command {
            MosquittoCommand::Render(args) => mosquitto::render(args),
        },
    }
}

/// What every broker is asked.
#[derive(Debug, clap::Args)]
struct RenderArgs {
    /// Folder to write into; its secrets are made once and kept
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write nothing: say what would change, and end with status 1 if anything would
    #[arg(long)]
    check: bool,
    /// Account of Dormouse's nodes
    #[arg(long, value_name = "NAME", default_value = "_dormouse")]
    nodes_account: AccountName,
    /// Account of `dormouse check`
    #[arg(long, value_name = "NAME", default_value = "_check")]
    check_account: AccountName,
    /// Where devices come in, with TLS
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8883")]
    listen: SocketAddr,
    /// Where programs on the broker's machine come in, without TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:1883")]
    listen_plain: SocketAddr,
    /// What a client certificate is worth; its common name is the device's id
    #[arg(long, value_name = "WHEN", default_value = "off")]
    client_certificates: ClientCertificates,
}

impl RenderArgs {
    fn rules(&self, config: &Config) -> anyhow::Result<Rules> {
        ensure!(
            self.nodes_account != self.check_account,
            "--check-account: must be another account than --nodes-account"
        );
        Ok(Rules {
            topics: Topics::new(&config.mqtt.topic_root)?,
            accounts: Accounts {
                nodes: self.nodes_account.clone(),
                check: self.check_account.clone(),
            },
        })
    }

    /// The listener with its files in `folder`, as the broker sees it.
    fn tls(&self, folder: &str) -> TlsListener {
        TlsListener {
            bind: self.listen,
            certificate: format!("{folder}/server.pem"),
            key: format!("{folder}/server.key"),
            client_ca: format!("{folder}/client-ca.pem"),
            clients: self.client_certificates,
        }
    }

    fn output(&self) -> anyhow::Result<Output> {
        Output::open(&self.out, self.check)
    }
}

/// A path as brokers' files can hold it.
fn plain_path(flag: &str, path: &str) -> anyhow::Result<()> {
    let plain = path.starts_with('/')
        && !path.ends_with('/')
        && !path.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"');
    ensure!(
        plain,
        "{flag}: must be an absolute path without blanks, quotes or a slash at its end"
    );
    Ok(())
}
