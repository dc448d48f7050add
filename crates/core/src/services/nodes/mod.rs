//! How the nodes of one site work together: what each hears of the others,
//! who leads, and what is done for those that are gone.

mod about;
mod hint;
mod lease;
mod members;
mod relay;
#[cfg(test)]
mod tests;

pub use about::About;
pub use hint::Hint;
pub use lease::{LEASE_EVERY, LEASE_TTL, LeaseKeeper};
pub use members::{Member, NODE_PREFIX, Roll};

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::device::{Device, Reported};
use crate::ids::DeviceKey;
use crate::live::LiveHub;
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::nodes::{Exchange, Heard, LeaseStore, NodeId};
use crate::services::dispatcher::Dispatcher;
use crate::services::presence::PresenceTracker;
use crate::services::registry::Registry;
use members::Members;
use relay::Relay;

/// The lease of the node that declares silences, keeps changes of presence
/// and judges incidents.
pub const PRESENCE: &str = "presence";
/// The lease of the node that does what one node does for all.
pub const UPKEEP: &str = "upkeep";
/// How long a node that hears nothing from the broker may still lead.
const CUT_OFF_MAX: Duration = Duration::from_secs(10);
/// Reports told by one hint.
const REPORTS: usize = 256;

/// What a [`Nodes`] works with.
pub struct NodesParts {
    /// Which node this is.
    pub node: NodeId,
    /// Its version, for people.
    pub version: &'static str,
    /// Keeps leases.
    pub leases: Arc<dyn LeaseStore>,
    /// Keeps the lease [`PRESENCE`]; the tracker's own.
    pub lead: Arc<LeaseKeeper>,
    /// How nodes hear of each other.
    pub exchange: Arc<dyn Exchange>,
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// Commands.
    pub dispatcher: Arc<Dispatcher>,
    /// The devices.
    pub registry: Arc<Registry>,
    /// Who watches here.
    pub live: Arc<LiveHub>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// One node among others.
pub struct Nodes {
    parts: NodesParts,
    upkeep: Arc<LeaseKeeper>,
    members: Members,
    relay: Relay,
    devices_changed: Notify,
    /// Reports that the others have not been told yet; one per device.
    reports: Mutex<HashMap<DeviceKey, Arc<Reported>>>,
}

impl fmt::Debug for NodesParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodesParts")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes")
            .field("node", &self.parts.node)
            .field("lead", &self.parts.lead)
            .field("upkeep", &self.upkeep)
            .finish_non_exhaustive()
    }
}

impl Nodes {
    /// One node over `parts`.
    #[must_use]
    pub fn new(parts: NodesParts) -> Self {
        let upkeep = LeaseKeeper::new(
            Arc::clone(&parts.leases),
            UPKEEP,
            parts.node.clone(),
            Arc::clone(&parts.clock),
        );
        Self {
            upkeep: Arc::new(upkeep),
            members: Members::default(),
            relay: Relay::new(Arc::clone(&parts.live)),
            devices_changed: Notify::new(),
            reports: Mutex::default(),
            parts,
        }
    }

    /// The lease of what one node does for all.
    #[must_use]
    pub const fn upkeep(&self) -> &Arc<LeaseKeeper> {
        &self.upkeep
    }

    /// Takes in the next thing heard from the others. For one caller at a
    /// time; call it again and again.
    pub async fn hear(&self) {
        match self.parts.exchange.next().await {
            Heard::Log(entries) => self.parts.presence.follow(&entries),
            Heard::Hint(bytes) => {
                if let Some(hint) = Hint::decode(&bytes) {
                    self.take(hint);
                }
            }
            Heard::Gap { log_lost } => self.missed(log_lost).await,
        }
    }

    fn take(&self, hint: Hint) {
        match hint {
            Hint::Moved { commands } => self.parts.dispatcher.on_moved(commands),
            Hint::Devices => self.devices_changed.notify_one(),
            Hint::Reported { reports } => {
                for (key, reported) in reports {
                    self.report(key, reported);
                }
            }
            Hint::Watching { node, topics } => {
                let now = self.parts.clock.instant();
                self.relay.heard(node, &topics, now);
            }
            Hint::Live { messages } => {
                for (about, message) in messages {
                    self.parts.live.publish_relayed(&about, &message.into());
                }
            }
            Hint::LiveGap => self.parts.live.demand_snapshots(),
        }
    }

    fn report(&self, key: DeviceKey, reported: Arc<Reported>) {
        if let Some(after) = self.parts.registry.take_report(key, reported)
            && let Some(reported) = &after.reported
        {
            self.parts.live.status(&after.id, reported);
        }
    }

    /// What was told meanwhile is unknown: it is read again.
    async fn missed(&self, log_lost: bool) {
        if log_lost {
            self.parts.presence.log_lost();
        }
        self.parts.dispatcher.on_gap();
        self.devices_changed.notify_one();
        if let Ok(changed) = self.parts.registry.reread_reports().await {
            for device in changed {
                if let Some(reported) = &device.reported {
                    self.parts.live.status(&device.id, reported);
                }
            }
        }
        self.parts.live.demand_snapshots();
    }

    /// Waits until devices changed on another node: time to
    /// [`Registry::refresh`].
    pub async fn devices_changed(&self) {
        self.devices_changed.notified().await;
    }

    /// Tells the others that devices changed here.
    pub fn tell_devices(&self) {
        self.hint(&Hint::Devices);
    }

    /// Notes that a device reported itself here, for [`Self::tell_reports`].
    pub fn reported(&self, device: &Device) {
        if let Some(reported) = &device.reported {
            lock(&self.reports).insert(device.key, Arc::clone(reported));
        }
    }

    /// Tells the others what devices reported here. Call it every
    /// [`TELL_EVERY`](super::presence::TELL_EVERY).
    pub fn tell_reports(&self) {
        let reports: Vec<_> = lock(&self.reports).drain().collect();
        for reports in reports.chunks(REPORTS) {
            self.hint(&Hint::Reported {
                reports: reports.to_vec(),
            });
        }
    }

    /// Waits until there is something for watchers of other nodes.
    pub async fn to_relay(&self) {
        self.relay.filled().await;
    }

    /// Hands on what watchers of other nodes want to hear. Call it soon after
    /// [`Self::to_relay`]: what comes in between is joined.
    pub fn relay(&self) {
        for hint in self.relay.take() {
            self.hint(&hint);
        }
    }

    /// Tells the others what this node's watchers want, if that changed or was
    /// told some time ago. Call it every quarter of a second.
    pub fn tell_watching(&self) {
        let now = self.parts.clock.instant();
        self.relay.forget_silent(now);
        if let Some(topics) = self.relay.to_tell(now) {
            self.hint(&Hint::Watching {
                node: self.parts.node.clone(),
                topics,
            });
        }
    }

    /// Takes and renews the leases that one node has for all, each if it is
    /// free. Call it every [`LEASE_EVERY`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(&self) -> Result<(), PortError> {
        let led = self.parts.lead.held();
        if self.parts.presence.cut_off_for() >= CUT_OFF_MAX {
            // Another node may hear the broker.
            self.parts.lead.give_back().await?;
        } else {
            self.parts.lead.attempt().await?;
        }
        if self.parts.lead.held().is_some() && led != self.parts.lead.held() {
            self.parts.presence.node_gone(None);
        }
        self.upkeep.attempt().await
    }

    /// Notices that leases have ended. Call it every quarter of a second.
    pub fn expire(&self) {
        self.parts.lead.expire();
        self.upkeep.expire();
    }

    /// Gives back what this node leads: it is about to stop.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn give_back(&self) -> Result<(), PortError> {
        self.parts.lead.give_back().await?;
        self.upkeep.give_back().await
    }

    fn hint(&self, hint: &Hint) {
        if let Some(bytes) = hint.encode() {
            self.parts.exchange.hint(bytes);
        }
    }
}
