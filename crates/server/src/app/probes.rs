//! Asks every part once a second whether it works.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::health::{HealthRegistry, PartHandle, PartState, Serves};
use dormouse_core::ports::PortError;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use super::services::Services;
use super::stores::{Part, Stores};
use crate::journal::JournalStats;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// A database that takes longer than this to take an empty write is down.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far our clock may be off the database's.
const CLOCK_OFF_MS: i64 = 500;

/// The parts, as `/health` names them.
pub(super) struct Parts {
    mqtt: PartHandle,
    hot: PartHandle,
    database: Vec<(PartHandle, Arc<dyn Part>)>,
    journal: PartHandle,
    /// Our clock against the database's, where nodes share deadlines.
    clock: Option<PartHandle>,
    /// All parts, for what other nodes are told.
    health: Arc<HealthRegistry>,
}

impl Parts {
    pub(super) fn register(
        health: &Arc<HealthRegistry>,
        stores: &Stores,
        services: &Services,
    ) -> Self {
        let add = |part: &Arc<dyn Part>| {
            let handle = health.add(part.name(), part.engine(), Serves::Database, true);
            (handle, Arc::clone(part))
        };
        Self {
            mqtt: health.add("mqtt", services.link.engine(), Serves::Mqtt, true),
            hot: health.add("redis", services.hot.engine(), Serves::Hot, true),
            database: stores.parts.iter().map(add).collect(),
            journal: health.add("journal", "file", Serves::Intake, true),
            clock: services
                .nodes
                .as_ref()
                .map(|_| health.add("clock", "system", Serves::Intake, true)),
            health: Arc::clone(health),
        }
    }

    /// Asks all of them once; presence hears whether messages can come in.
    pub(super) async fn probe(&self, engines: &Engines, services: &Services) {
        let (mqtt, hot) = (services.link.check(), services.hot.check());
        let journal = judge(&engines.journal.stats()).and_then(|()| services.intake.check());
        if mqtt.is_ok() && hot.is_ok() && journal.is_ok() {
            services.presence.link_restored();
        } else {
            services.presence.link_lost();
        }
        report(&self.mqtt, mqtt);
        report(&self.hot, hot);
        report_with(&self.journal, journal);
        if let Some((clock, nodes)) = self.clock.as_ref().zip(services.nodes.as_ref()) {
            report(clock, judge_clock(nodes.clock_ahead_ms()));
        }
        let answers = self.database.iter().map(|(_, part)| answers(part.probe()));
        let answers = futures_util::future::join_all(answers).await;
        for ((handle, _), answer) in self.database.iter().zip(answers) {
            report(handle, answer);
        }
        if let Some(nodes) = &services.nodes {
            nodes.set_down(self.down());
        }
    }

    fn down(&self) -> Vec<String> {
        let parts = self.health.all().into_iter();
        parts
            .filter(|(_, part)| part.state == PartState::Down)
            .map(|(name, _)| name.to_owned())
            .collect()
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
    services: Services,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        parts.probe(&engines, &services).await;
    }
    parts.stopping();
    Ok(())
}

fn judge_clock(ahead_ms: i64) -> Result<(), String> {
    if ahead_ms.abs() <= CLOCK_OFF_MS {
        return Ok(());
    }
    Err(format!(
        "{ahead_ms} ms ahead of the database's clock; at most {CLOCK_OFF_MS} ms either way: set \
         both by NTP"
    ))
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
        Ok(Err(error)) => Err(root_cause(&error)),
        Err(_) => Err("does not answer in time".to_owned()),
    }
}

/// What lies at the bottom of an error, for people.
pub(super) fn root_cause(error: &PortError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Logs the moments when a part goes down and comes back.
fn report(part: &PartHandle, state: Result<(), String>) {
    report_with(part, state.map(|()| None));
}

/// [`report`] for a part of which there may be something to say while it works.
fn report_with(part: &PartHandle, state: Result<Option<String>, String>) {
    match state {
        Ok(said) => {
            let is_news = match said {
                Some(said) => part.up_with(said),
                None => part.up(),
            };
            if is_news {
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
