//! The loops of a node among others. A part that does not answer is said
//! once, and so is its return; the loops go on.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::ports::PortError;
use dormouse_core::services::dispatcher::Dispatcher;
use dormouse_core::services::nodes::{LEASE_EVERY, LeaseKeeper, Nodes};
use dormouse_core::services::presence::{PresenceTracker, TELL_EVERY};
use dormouse_core::services::registry::Registry;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::said::Said;
use crate::tasks::Tasks;

/// How often silences are looked for, and changes kept.
const PRESENCE_EVERY: Duration = Duration::from_millis(100);
/// How often it is noted up to where in the log changes are kept.
const NOTE_EVERY: Duration = Duration::from_secs(1);
/// How often commands of dead nodes are claimed, ends of leases noticed, and
/// changes of what is watched told.
const QUARTER: Duration = Duration::from_millis(250);
/// How often is cleared up after dead nodes.
const CLEAR_UP: Duration = Duration::from_secs(2);
/// How long messages for other nodes' watchers are joined.
const JOIN: Duration = Duration::from_millis(20);
/// How long a lease is asked for before it is asked for again.
const ASK_MAX: Duration = Duration::from_secs(2);

/// Whether this node does what one node does for all.
#[derive(Debug, Clone, Default)]
pub struct Duty(Option<Arc<LeaseKeeper>>);

impl Duty {
    /// Only while `lease` is held.
    #[must_use]
    pub const fn under(lease: Arc<LeaseKeeper>) -> Self {
        Self(Some(lease))
    }

    /// Whether it does now; the only node always does.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.as_ref().is_none_or(|lease| lease.held().is_some())
    }

    /// Notes something for the others and for who has the duty next.
    ///
    /// # Errors
    /// When the leases' store does not answer.
    pub async fn note(&self, note: &str) -> Result<(), PortError> {
        match &self.0 {
            Some(lease) => lease.note(note).await,
            None => Ok(()),
        }
    }

    /// What whoever has the duty noted last.
    ///
    /// # Errors
    /// When the leases' store does not answer.
    pub async fn noted(&self) -> Result<Option<String>, PortError> {
        match &self.0 {
            Some(lease) => lease.noted().await,
            None => Ok(None),
        }
    }
}

/// What the loops of a node among others drive.
#[derive(Debug, Clone)]
pub struct NodeLoops {
    /// The node.
    pub nodes: Arc<Nodes>,
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// Commands.
    pub dispatcher: Arc<Dispatcher>,
    /// The devices.
    pub registry: Arc<Registry>,
}

impl NodeLoops {
    /// Starts them all.
    pub fn spawn(&self, tasks: &Tasks) {
        let stop = || tasks.stopping();
        tasks.spawn("nodes: hear", self.clone().hear(stop()));
        tasks.spawn("nodes: tell", self.clone().tell(stop()));
        tasks.spawn("nodes: leases", self.clone().leases(stop()));
        tasks.spawn("nodes: members", self.clone().members(stop()));
        tasks.spawn("nodes: silences", self.clone().silences(stop()));
        tasks.spawn("nodes: changes", self.clone().changes(stop()));
        tasks.spawn("nodes: commands", self.clone().commands(stop()));
        tasks.spawn("nodes: devices", self.clone().devices(stop()));
        tasks.spawn("nodes: relay", self.clone().relay(stop()));
        tasks.spawn("nodes: clear up", self.clone().clear_up(stop()));
    }

    async fn hear(self, stop: CancellationToken) -> anyhow::Result<()> {
        while stop.run_until_cancelled(self.nodes.hear()).await.is_some() {}
        Ok(())
    }

    /// What is left to tell is told at the stop.
    async fn tell(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = ticks(TELL_EVERY);
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = self.presence.to_tell() => false,
                _ = ticks.tick() => false,
            };
            self.presence.tell();
            self.nodes.tell_reports();
            if stopping {
                return Ok(());
            }
        }
    }

    async fn leases(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut said = Said::new("the leases of what one node does for all");
        let (mut ask, mut looks) = (Instant::now(), ticks(QUARTER));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => self.nodes.expire(),
                // Its end is looked for while it is not asked for, too.
                () = sleep_until(ask) => {
                    let pause = match timeout(ASK_MAX, self.nodes.renew()).await {
                        Ok(Ok(())) => {
                            said.worked();
                            LEASE_EVERY
                        }
                        Ok(Err(error)) => said.failed(&error),
                        Err(slow) => said.failed(&slow),
                    };
                    ask = Instant::now() + pause;
                }
            }
        }
        timeout(ASK_MAX, self.nodes.give_back()).await.ok();
        Ok(())
    }

    async fn members(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut said = Said::new("the list of nodes");
        let mut ticks = ticks(LEASE_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            said.rest_if_failed(&self.nodes.look_around().await, &stop)
                .await;
        }
        Ok(())
    }

    async fn silences(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = ticks(PRESENCE_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.presence.run_due();
        }
        Ok(())
    }

    /// Changes that came before the stop are kept; what cannot be, the next
    /// leader keeps.
    async fn changes(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut said = Said::new("changes of presence");
        let mut noted = Said::new("the place of the log");
        let (mut keeps, mut notes) = (ticks(PRESENCE_EVERY), ticks(NOTE_EVERY));
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = notes.tick() => {
                    noted.rest_if_failed(&self.presence.note_kept().await, &stop).await;
                }
                _ = keeps.tick() => {
                    said.rest_if_failed(&self.presence.keep().await, &stop).await;
                }
            }
        }
        timeout(ASK_MAX, self.presence.keep()).await.ok();
        timeout(ASK_MAX, self.presence.note_kept()).await.ok();
        Ok(())
    }

    async fn commands(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut said = Said::new("the deadlines of commands");
        let mut ticks = ticks(QUARTER);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let claimed = self.dispatcher.claim_overdue().await;
            said.rest_if_failed(&claimed, &stop).await;
        }
        Ok(())
    }

    async fn devices(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut said = Said::new("devices changed on other nodes");
        while stop
            .run_until_cancelled(self.nodes.devices_changed())
            .await
            .is_some()
        {
            said.rest_if_failed(&self.registry.refresh().await, &stop)
                .await;
        }
        Ok(())
    }

    async fn relay(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = ticks(QUARTER);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => self.nodes.tell_watching(),
                () = self.nodes.to_relay() => {
                    stop.run_until_cancelled(sleep(JOIN)).await;
                    self.nodes.relay();
                }
            }
        }
    }

    async fn clear_up(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut said = Said::new("what dead nodes left");
        let mut ticks = ticks(CLEAR_UP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            said.rest_if_failed(&self.nodes.clear_up().await, &stop)
                .await;
        }
        Ok(())
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
