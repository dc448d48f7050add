//! The command line.

mod demo;
mod serve;

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

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
    /// Print every setting with its default
    Config,
}

/// Where settings come from.
#[derive(Debug, Clone, clap::Args)]
struct ConfigArgs {
    /// TOML file with settings; `dormouse config` prints them all
    #[arg(long, value_name = "FILE")]
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
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Sim(args) => serve::block_on(async {
            let stop = serve::stop_token()?;
            crate::observe::start(&Config::load(None, std::env::vars())?.log)?;
            dormouse_sim::cli::run(*args, stop).await
        }),
        Command::Config => print(DEFAULT_TOML.trim_end()),
    }
}

/// Writes one result on standard output.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
