//! Runs the drain: at once when there is much, within a moment when there is
//! little, and again and again while a database does not answer.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::services::drain::{BATCH_BYTES, Drain, Step};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long records gather before they are moved, so that each device has a
/// few in a batch: the database is then at most about this and one batch behind.
const GATHER: Duration = Duration::from_millis(400);
/// The first wait after a failure; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A failure that lasts is logged this often.
const REMIND: Duration = Duration::from_secs(30);

/// Moves records into the databases until `stop`, then what is left.
///
/// # Errors
/// Never by a database's fault; those are waited out.
pub async fn drain(drain: Arc<Drain>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut retry = Retry::default();
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = drain.readable() => {}
        }
        if retry.is_idle() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(GATHER) => {}
            }
        }
        while let Some(step) = retry.step(&drain).await {
            if step.bytes < BATCH_BYTES as u64 / 2 {
                break;
            }
        }
        if let Some(wait) = retry.wait() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(wait) => {}
            }
        }
    }
    // What cannot be moved now stays in the journal for the next start.
    while let Some(step) = retry.step(&drain).await {
        if step.bytes == 0 {
            break;
        }
    }
    Ok(())
}

/// Remembers failures in a row.
#[derive(Default)]
struct Retry {
    wait: Option<Duration>,
    logged_at: Option<Instant>,
}

impl Retry {
    /// One step; `None` where it failed.
    async fn step(&mut self, drain: &Drain) -> Option<Step> {
        match drain.step().await {
            Ok(step) => {
                if step.unreadable > 0 {
                    let count = step.unreadable;
                    tracing::error!(count, "journal records of an unknown kind skipped");
                }
                if self.wait.take().is_some() {
                    tracing::info!("databases take samples again");
                }
                self.logged_at = None;
                Some(step)
            }
            Err(error) => {
                let longer = self.wait.map_or(RETRY_MIN, |wait| wait * 2);
                self.wait = Some(longer.min(RETRY_MAX));
                if self.logged_at.is_none_or(|at| at.elapsed() > REMIND) {
                    self.logged_at = Some(Instant::now());
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "databases take no samples; the journal keeps them");
                }
                None
            }
        }
    }

    const fn is_idle(&self) -> bool {
        self.wait.is_none()
    }

    const fn wait(&self) -> Option<Duration> {
        self.wait
    }
}
