//! Asks every part once a second whether it works.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::health::{HealthRegistry, PartHandle, Serves};
use dormouse_core::ports::PortError;
use dormouse_core::services::presence::PresenceTracker;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use super::stores::{Part, Stores};
use crate::journal::JournalStats;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// A database that takes longer than this to take an empty write is down.
const PATIENCE: Duration = Duration::from_secs(5);

/// The parts, as `/health` names them.
pub(super) struct Parts {
    mqtt: PartHandle,
    hot: PartHandle,
    database: Vec<(PartHandle, Arc<dyn Part>)>,
    journal: PartHandle,
}

impl Parts {
    pub(super) fn register(health: &Arc<HealthRegistry>, stores: &Stores) -> Self {
        let add = |part: &Arc<dyn Part>| {
            let handle = health.add(part.name(), part.engine(), Serves::Database, true);
            (handle, Arc::clone(part))
        };
        Self {
            mqtt: health.add("mqtt", "embedded", Serves::Mqtt, true),
            hot: health.add("redis", "memory", Serves::Hot, true),
            database: stores.parts.iter().map(add).collect(),
            journal: health.add("journal", "file", Serves::Intake, true),
        }
    }

    /// Asks all of them once; `presence` hears whether messages can come in.
    pub(super) async fn probe(&self, engines: &Engines, presence: &PresenceTracker) {
        report(&self.mqtt, Ok(()));
        report(&self.hot, Ok(()));
        let journal = judge(&engines.journal.stats());
        if journal.is_ok() {
            presence.link_restored();
        } else {
            presence.link_lost();
        }
        report(&self.journal, journal);
        let answers = self.database.iter().map(|(_, part)| answers(part.probe()));
        let answers = futures_util::future::join_all(answers).await;
        for ((handle, _), answer) in self.database.iter().zip(answers) {
            report(handle, answer);
        }
    }

    /// Says that the broker does not take connections any more.
    pub(super) fn stopping(&self) {
        self.mqtt.down("stopping");
    }
}

/// Probes until `stop`.
pub(super) async fn probe(
    parts: Parts,
    engines: Arc<Engines>,
    presence: Arc<PresenceTracker>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        parts.probe(&engines, &presence).await;
    }
    parts.stopping();
    Ok(())
}

fn judge(journal: &JournalStats) -> Result<(), String> {
    if let Some(reason) = &journal.failing {
        return Err(format!("cannot be written: {reason}"));
    }
    if journal.full {
        return Err("full: the database does not take what it holds".to_owned());
    }
    Ok(())
}

async fn answers(probe: impl Future<Output = Result<(), PortError>>) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, probe).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(PortError::Unavailable(cause))) => Err(cause.to_string()),
        Ok(Err(error @ PortError::Corrupt(_))) => Err(error.to_string()),
        Err(_) => Err("does not answer in time".to_owned()),
    }
}

/// Logs the moments when a part goes down and comes back.
fn report(part: &PartHandle, state: Result<(), String>) {
    match state {
        Ok(()) => {
            if part.up() {
                tracing::info!(part = part.name(), "up");
            }
        }
        Err(detail) => {
            if part.down(detail.clone()) {
                tracing::warn!(part = part.name(), detail, "down");
            }
        }
    }
}
