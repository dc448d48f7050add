//! Keeps the database's tables in shape, on one node at a time.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::health::{PartHandle, Rounds};
use tokio_util::sync::CancellationToken;

use crate::store::postgres::{Maintenance, PostgresHistory};
use crate::upkeep::Duty;

/// How soon after the start it runs first.
const FIRST: Duration = Duration::from_secs(5);
/// How long after a run the next one begins.
const NEXT: Duration = Duration::from_secs(3_600);
/// The same after a run in which something failed, or while it is another
/// node's duty.
const SOON: Duration = Duration::from_secs(60);

/// Runs maintenance again and again until `stop`; `health` tells how it went.
///
/// # Errors
/// Never: what fails is said and tried again.
pub(super) async fn maintain(
    history: Arc<PostgresHistory>,
    duty: Duty,
    health: PartHandle,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut maintenance = Maintenance::new(history);
    let mut pause = FIRST;
    loop {
        let slept = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        if slept.is_none() {
            return Ok(());
        }
        pause = SOON;
        let known = noted(&duty).await;
        if !duty.is_ours() {
            health.plan(Rounds {
                last_success: known,
                next: None,
            });
            health.up_with("another node's duty");
            continue;
        }
        let Some(report) = stop.run_until_cancelled(maintenance.run(clock.now())).await else {
            return Ok(());
        };
        let detail = report.detail();
        let succeeded = report.last_success();
        if report.is_well() {
            if health.up_with(detail) {
                tracing::info!("maintenance of history works");
            }
            pause = NEXT;
        } else if health.down(detail.clone()) {
            tracing::warn!(detail, "maintenance of history failed; trying again");
        }
        health.plan(Rounds {
            last_success: succeeded.or(known),
            next: Some(clock.now() + pause),
        });
        if let Some(at) = succeeded
            && let Err(error) = duty.note(&at.to_rfc3339()).await
        {
            tracing::debug!(%error, "other nodes are not told when maintenance succeeded");
        }
    }
}

/// When it last succeeded on whichever node. Unknown while the leases' store
/// does not answer: maintenance itself says so, too.
async fn noted(duty: &Duty) -> Option<Timestamp> {
    let note = duty.noted().await.ok().flatten()?;
    Timestamp::parse_rfc3339(&note).ok()
}
