//! Housekeeping that runs for as long as the server does.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::services::retention::{Retention, RetentionReport};
use dormouse_core::services::statistics::Statistics;
use tokio_util::sync::CancellationToken;

use super::Duty;

/// How soon after the start retention runs first: when the rush is over.
const FIRST_RETENTION: Duration = Duration::from_secs(60);
/// How long after a run the next one begins.
const NEXT_RETENTION: Duration = Duration::from_secs(3_600);
/// The pause after each small step, in which others have the database.
const STEP_PAUSE: Duration = Duration::from_millis(20);
/// How soon a failed step is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// How often reporting periods are looked at.
const PERIODS: Duration = Duration::from_secs(60);

/// Drops what is too old or too much, again and again.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn retention(
    retention: Arc<Retention>,
    duty: Duty,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut pause = FIRST_RETENTION;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            report = run(&retention, &duty) => report.iter().for_each(tell),
        }
        pause = NEXT_RETENTION;
    }
}

/// `None` where another node does it.
async fn run(retention: &Retention, duty: &Duty) -> Option<RetentionReport> {
    let mut run = retention.begin();
    while duty.is_ours() {
        let pause = match run.step().await {
            Ok(Some(report)) => return Some(report),
            Ok(None) => STEP_PAUSE,
            Err(error) => {
                tracing::warn!(%error, "retention waits for the database");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
    None
}

fn tell(report: &RetentionReport) {
    let (raw_rows, minute_rows) = (report.raw_rows, report.minute_rows);
    let (took, bytes) = (report.took, report.usage.bytes);
    if report.still_over_budget {
        tracing::warn!(
            bytes,
            "history is over its budget and may drop nothing more"
        );
    }
    if raw_rows + minute_rows > 0 {
        tracing::info!(raw_rows, minute_rows, ?took, bytes, "dropped old history");
    } else {
        tracing::debug!(?took, bytes, "no old history to drop");
    }
}

/// Notes how often devices report, for counts of what should have come.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn periods(
    statistics: Arc<Statistics>,
    duty: Duty,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        if duty.is_ours()
            && let Err(error) = statistics.note_periods().await
        {
            tracing::warn!(%error, "reporting periods were not noted");
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(PERIODS) => {}
        }
    }
}
