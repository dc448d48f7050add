//! Logs: structured, on standard error, so that standard output stays free
//! for what a command prints.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Starts logging as `settings` say; once per process.
///
/// # Errors
/// When `settings.filter` is no filter or logging was started before.
pub fn start(settings: &Log) -> anyhow::Result<()> {
    let Ok(filter) = EnvFilter::try_new(&settings.filter) else {
        bail!(
            "configuration: log.filter: {:?} is no filter such as \"info\" or \"info,dormouse=debug\"",
            settings.filter
        );
    };
    // Colours are for people at a terminal, not for files and journals.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let registry = tracing_subscriber::registry().with(filter);
    match settings.format {
        LogFormat::Pretty => registry.with(lines.with_target(false)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .context("starting the log")
}
