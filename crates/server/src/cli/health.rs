//! `dormouse health`: asks a running server how it is, for container engines
//! and scripts.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::print;
use super::serve::block_on;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is printed of an answer at most, bytes.
const ANSWER_MAX: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to ask: /livez, /readyz (takes data) or /health (all parts work)
    #[arg(long, default_value = "http://127.0.0.1:8080/health")]
    url: reqwest::Url,
}

/// Succeeds where the answer is 200.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    block_on(async {
        let asked = || format!("--url: {} does not answer", shown(&args.url));
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let answer = client.get(args.url.clone()).send().await;
        let answer = answer
            .map_err(reqwest::Error::without_url)
            .with_context(asked)?;
        let status = answer.status();
        let mut text = answer
            .text()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(asked)?;
        if text.len() > ANSWER_MAX {
            text = format!("{} bytes", text.len());
        }
        if !text.trim().is_empty() {
            print(text.trim())?;
        }
        ensure!(status.is_success(), "{} answers {status}", shown(&args.url));
        Ok(())
    })
}

/// A URL without what might be secret in it.
fn shown(url: &reqwest::Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
