//! The people's side of the benchmarks: sends commands, watches the live
//! socket and reads history, each as one line of JSON for the harness.
//!
//! The token comes from the variable `DORMOUSE_TOKEN`, so that it shows in no
//! list of processes.

mod commands;
mod http;
mod live;
mod reads;
mod summary;
mod watch;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    /// The server, host:port
    #[arg(long)]
    http: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sends commands and waits for each to succeed on the live socket
    Commands(commands::Args),
    /// Watches the live socket: how old samples are when they arrive
    Watch(watch::Args),
    /// Reads paths again and again
    Reads(reads::Args),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Cli { http, what } = Cli::parse();
    let server = http::Server {
        address: http
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned(),
        token: std::env::var("DORMOUSE_TOKEN").unwrap_or_default(),
    };
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            match what {
                What::Commands(args) => commands::run(&server, args).await,
                What::Watch(args) => watch::run(&server, args).await,
                What::Reads(args) => reads::run(&server, args).await,
            }
        })
        .await
}

/// Prints one line of JSON on standard output.
fn print_line(value: &serde_json::Value) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{value}")?;
    Ok(())
}
