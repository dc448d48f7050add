//! The simulator by itself, without the server: `cargo run -p dormouse-sim --example sim -- --help`.

use clap::Parser;
use dormouse_sim::cli::{Args, run};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    let work = run(Cli::parse().args, cancel.clone());
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    cancel.cancel();
    work.await
}
