//! Presence, incidents, events, audit, and what is done by the clock: all of
//! them outlive a database that does not answer.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::clock::Clock;
use dormouse_core::ports::PortError;
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::events::EventLog;
use dormouse_core::services::incidents::Incidents;
use dormouse_core::services::presence::PresenceTracker;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::said::Said;

/// How often it is looked who leads.
const LOOK: Duration = Duration::from_secs(1);

/// Declares offline who has been silent for too long, until `stop`.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn presence(
    tracker: Arc<PresenceTracker>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let due = tracker.next_deadline().map(|at| at.since(clock.instant()));
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tracker.deadline_moved() => {}
            () = after(due) => {
                tracker.run_due();
            }
        }
    }
}

/// Judges losses and ends incidents until `stop`; among several nodes, only
/// while this one leads.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn incidents(
    incidents: Arc<Incidents>,
    tracker: Arc<PresenceTracker>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut said = Said::new("incidents");
    let mut leads = tracker.leads();
    loop {
        if tracker.leads() && !leads {
            let outcome = incidents.take_over(|key| tracker.is_online(key)).await;
            leads = outcome.is_ok();
            said.rest_if_failed(&outcome, &stop).await;
        }
        if !tracker.leads() {
            leads = false;
            incidents.stand_by();
            stop.run_until_cancelled(sleep(LOOK)).await;
            if stop.is_cancelled() {
                return Ok(());
            }
            continue;
        }
        let due = incidents
            .next_deadline()
            .map(|at| at.since(clock.instant()));
        let look = tracker.is_shared().then_some(LOOK);
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = incidents.deadline_moved() => {}
            () = after(look) => {}
            () = after(due) => {
                let outcome = incidents.run_due(|key| tracker.is_online(key)).await;
                said.rest_if_failed(&outcome, &stop).await;
            }
        }
    }
}

/// Stores events as they come until `stop`.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn events(log: Arc<EventLog>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut said = Said::new("events");
    while stop.run_until_cancelled(log.arrived()).await.is_some() {
        let outcome = log.flush().await.map(drop);
        said.rest_if_failed(&outcome, &stop).await;
    }
    Ok(())
}

/// Stores audit entries as they come until `stop`.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn audit(log: Arc<AuditLog>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut said = Said::new("the audit log");
    while stop.run_until_cancelled(log.filled()).await.is_some() {
        let outcome = log.flush().await.map(drop);
        said.rest_if_failed(&outcome, &stop).await;
    }
    Ok(())
}

/// Calls `work` every `period` until `stop`.
///
/// # Errors
/// None; a store that does not answer is asked again later.
pub async fn every<F: Future<Output = Result<(), PortError>>>(
    what: &'static str,
    period: Duration,
    stop: CancellationToken,
    work: impl Fn() -> F,
) -> anyhow::Result<()> {
    let mut said = Said::new(what);
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let outcome = work().await;
        said.rest_if_failed(&outcome, &stop).await;
    }
    Ok(())
}

async fn after(due: Option<Duration>) {
    match due {
        Some(wait) => sleep(wait).await,
        None => std::future::pending().await,
    }
}
