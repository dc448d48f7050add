//! The command line.

mod backup;
mod broker;
mod check;
mod demo;
mod device;
mod health;
mod migrate;
mod serve;
mod site;
mod token;
mod user;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::api::openapi;
use crate::app::{App, Place};
use crate::config::{Config, DEFAULT_TOML};

/// A light platform for fleets of smart power strips.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Run the server and a building of simulated strips
    Demo(demo::Args),
    /// Simulate strips, or make load, against any broker
    Sim(Box<dormouse_sim::cli::Args>),
    /// Add, list and remove devices; also while a server runs
    Device(device::Args),
    /// Add, list and remove people; also while a server runs
    User(user::Args),
    /// Make and take back API tokens; also while a server runs
    Token(token::Args),
    /// Back up a site on the embedded engines; also while a server runs
    Backup(backup::BackupArgs),
    /// Put a backup back
    Restore(backup::RestoreArgs),
    /// Prove that a broker is locked down; ends with status 1 where it is not
    Check(Box<check::Args>),
    /// Configure EMQX or Mosquitto for this site
    Broker(Box<broker::Args>),
    /// Move a site from SQLite to PostgreSQL; can be stopped and taken up again
    Migrate(migrate::Args),
    /// Ask a running server how it is; status 1 where it is not well
    Health(health::Args),
    /// Print every setting with its default
    Config,
    /// Print the API's document
    Openapi,
}

/// A command could not do its work, which is another thing than that its work
/// ended badly.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CouldNotRun(String);

/// The exit status that tells of `error`: 2 where a command could not do its
/// work, otherwise 1.
#[must_use]
pub fn exit_status(error: &anyhow::Error) -> u8 {
    if error.is::<CouldNotRun>() { 2 } else { 1 }
}

/// Where settings come from.
#[derive(Debug, Clone, clap::Args)]
struct ConfigArgs {
    /// TOML file with settings; `dormouse config` prints them all
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref(), std::env::vars())?)
    }
}

/// Runs what the arguments ask for.
///
/// # Errors
/// With a message for people; the process should exit with status 1.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    crate::tls::use_ring();
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Sim(args) => serve::block_on(async {
            let stop = serve::stop_token()?;
            crate::observe::start(&Config::load(None, std::env::vars())?.log)?;
            dormouse_sim::cli::run(*args, stop).await
        }),
        Command::Device(args) => device::run(args),
        Command::User(args) => user::run(args),
        Command::Token(args) => token::run(args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => backup::run_restore(args),
        Command::Check(args) => check::run(&args),
        Command::Broker(args) => broker::run(*args),
        Command::Migrate(args) => migrate::run(args),
        Command::Health(args) => health::run(&args),
        Command::Config => print(DEFAULT_TOML.trim_end()),
        Command::Openapi => print(document()?.trim_end()),
    }
}

/// The API's document, as a platform in a folder of its own tells it.
fn document() -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let place = Place {
        data: folder.path().to_owned(),
        http: Some(any_port),
        mqtt: Some(any_port),
    };
    let mut config = Config::load(None, [])?;
    config.journal.size_mib = 1;
    let mut text = String::new();
    serve::block_on(async {
        let app = App::build(config, place).await?;
        text = openapi::to_text(&app.document())?;
        Ok(())
    })?;
    Ok(text)
}

/// Writes one result on standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Writes text that ends its own lines on standard output.
fn print_raw(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
