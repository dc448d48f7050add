//! A fleet of virtual strips in this process: start it, look at it, poke it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dormouse_core::ids::{DeviceId, InvalidDeviceId, SocketId};
use dormouse_core::topic::{Channel, InvalidRoot, Topics};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Epoch, unix_ms};
use crate::counters::{Counters, Totals};
use crate::fault::Faults;
use crate::runner::{Runner, Shared};
use crate::scenario::Scenario;

/// Pokes waiting for one strip; a sender beyond it waits.
const POKES_MAX: usize = 16;
/// 2025-01-01T00:00:00Z in unix seconds: boots are numbered from here.
const BOOT_ZERO_S: i64 = 1_735_689_600;

/// How a strip proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Which strip.
    pub device_id: String,
    /// MQTT user name; the device id, unless the broker is somebody else's.
    pub username: String,
    /// MQTT password, or the join key.
    pub password: String,
    /// Whether the password is a join key, so that the strip waits for
    /// credentials of its own and connects again with them.
    pub joins: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("device_id", &self.device_id)
            .field("username", &self.username)
            .field("joins", &self.joins)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// A strip that has credentials of its own.
    #[must_use]
    pub fn own(device_id: &str, password: &str) -> Self {
        Self {
            device_id: device_id.to_owned(),
            username: device_id.to_owned(),
            password: password.to_owned(),
            joins: false,
        }
    }

    /// A strip that joins with the site's key.
    #[must_use]
    pub fn join(device_id: &str, key: &str) -> Self {
        Self {
            joins: true,
            ..Self::own(device_id, key)
        }
    }
}

/// What a fleet is and where it connects.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The broker, `host:port`.
    pub broker: String,
    /// The first levels of every topic.
    pub topic_root: String,
    /// The strips, each with what it connects with.
    pub credentials: Vec<Credentials>,
    /// How they behave.
    pub scenario: Scenario,
    /// What chooses everything that is left to chance.
    pub seed: u64,
    /// The boot count to begin with; `None` takes one from the clock, so that
    /// a later run of the same strips counts on.
    pub first_boot: Option<u32>,
}

impl FleetConfig {
    /// A fleet with the usual topics, a quiet scenario and seed 1.
    #[must_use]
    pub fn new(broker: impl Into<String>, credentials: Vec<Credentials>) -> Self {
        Self {
            broker: broker.into(),
            topic_root: dormouse_core::topic::DEFAULT_ROOT.to_owned(),
            credentials,
            scenario: Scenario::quiet(),
            seed: 1,
            first_boot: None,
        }
    }
}

/// Why a fleet cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A name breaks the rule for device ids.
    #[error("{id:?}: {source}")]
    DeviceId {
        /// The name.
        id: String,
        /// The rule.
        source: InvalidDeviceId,
    },
    /// A name occurs twice.
    #[error("{0}: more than one strip with this id")]
    Twice(DeviceId),
    /// The topic root breaks its rule.
    #[error("topic root: {0}")]
    Root(#[from] InvalidRoot),
}

/// What can be seen of a strip from outside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StripView {
    /// Connected, subscribed, and its status sent.
    pub online: bool,
    /// Whether each socket is on, from socket 1.
    pub sockets: Vec<bool>,
    /// Commands obeyed since the fleet started; a repeated one counts once.
    pub executed: u64,
    /// How often the firmware has started.
    pub boot: u32,
    /// How often it has connected since.
    pub conn: u32,
    /// Still waits for credentials of its own.
    pub joining: bool,
}

/// Something done to a strip from outside.
#[derive(Debug)]
pub(crate) enum Poke {
    Press(SocketId),
    Faults(Faults),
    Drop(Duration),
    Reboot,
    Publish(Channel, Vec<u8>),
}

/// One strip of a running fleet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StripHandle {
    pokes: mpsc::Sender<Poke>,
    view: watch::Receiver<StripView>,
    credentials: watch::Receiver<Credentials>,
}

impl StripHandle {
    /// What the strip looks like now.
    #[must_use]
    pub fn view(&self) -> StripView {
        self.view.borrow().clone()
    }

    /// Waits until the strip looks as `wanted` says; `None` if the fleet stops first.
    pub async fn wait_until(&self, wanted: impl FnMut(&StripView) -> bool) -> Option<StripView> {
        let mut view = self.view.clone();
        view.wait_for(wanted).await.ok().map(|view| view.clone())
    }

    /// What the strip connects with now, which enrolment changes.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.borrow().clone()
    }

    /// Presses the button of a socket, which switches it.
    pub async fn press(&self, socket: SocketId) {
        self.poke(Poke::Press(socket)).await;
    }

    /// Sets the strip's faults; `Faults::default()` heals them.
    pub async fn set_faults(&self, faults: Faults) {
        self.poke(Poke::Faults(faults)).await;
    }

    /// Breaks the connection without a goodbye and stays away for so long.
    pub async fn drop_link(&self, away: Duration) {
        self.poke(Poke::Drop(away)).await;
    }

    /// Starts the firmware again.
    pub async fn reboot(&self) {
        self.poke(Poke::Reboot).await;
    }

    /// Publishes any bytes on one of the strip's own topics, at QoS 1.
    pub async fn publish(&self, channel: Channel, payload: Vec<u8>) {
        self.poke(Poke::Publish(channel, payload)).await;
    }

    async fn poke(&self, poke: Poke) {
        // A strip whose fleet has stopped feels nothing.
        let _ = self.pokes.send(poke).await;
    }
}

/// A running fleet; it stops when its token is cancelled.
#[derive(Debug)]
pub struct Fleet {
    strips: BTreeMap<DeviceId, StripHandle>,
    counters: Arc<Counters>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Fleet {
    /// Starts one task per strip. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When an id or the topic root breaks its rule, or an id occurs twice;
    /// nothing is started then.
    pub fn start(config: FleetConfig, cancel: CancellationToken) -> Result<Self, FleetError> {
        let topics = Topics::new(&config.topic_root)?;
        let mut members = BTreeMap::new();
        for credentials in config.credentials {
            let id =
                DeviceId::parse(&credentials.device_id).map_err(|source| FleetError::DeviceId {
                    id: credentials.device_id.clone(),
                    source,
                })?;
            if members.insert(id.clone(), credentials).is_some() {
                return Err(FleetError::Twice(id));
            }
        }
        let counters = Arc::new(Counters::default());
        let shared = Arc::new(Shared {
            broker: config.broker,
            topics,
            epoch: Epoch::begin(config.scenario.utc_offset_hours),
            scenario: config.scenario,
            seed: config.seed,
            counters: Arc::clone(&counters),
        });
        let first_boot = config
            .first_boot
            .unwrap_or_else(|| u32::try_from(unix_ms() / 1_000 - BOOT_ZERO_S).unwrap_or(1));
        let tasks = TaskTracker::new();
        let strips = members
            .into_iter()
            .map(|(id, credentials)| {
                let (pokes, inbox) = mpsc::channel(POKES_MAX);
                let (secret, credentials) = watch::channel(credentials);
                let (sight, view) = watch::channel(StripView::default());
                let runner = Runner::new(
                    Arc::clone(&shared),
                    id.clone(),
                    first_boot,
                    inbox,
                    secret,
                    sight,
                );
                tasks.spawn(runner.run(cancel.child_token()));
                (
                    id,
                    StripHandle {
                        pokes,
                        view,
                        credentials,
                    },
                )
            })
            .collect();
        tasks.close();
        Ok(Self {
            strips,
            counters,
            cancel,
            tasks,
        })
    }

    /// The strip called `id`.
    #[must_use]
    pub fn strip(&self, id: &str) -> Option<&StripHandle> {
        self.strips.get(&DeviceId::parse(id).ok()?)
    }

    /// Every strip, by id.
    pub fn strips(&self) -> impl Iterator<Item = (&DeviceId, &StripHandle)> {
        self.strips.iter()
    }

    /// How many strips are online now.
    #[must_use]
    pub fn online(&self) -> usize {
        self.strips
            .values()
            .filter(|strip| strip.view.borrow().online)
            .count()
    }

    /// What has happened so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Waits until every strip is online at least once.
    pub async fn wait_online(&self) {
        for strip in self.strips.values() {
            strip.wait_until(|view| view.online).await;
        }
    }

    /// Lets every strip say goodbye and waits until all are gone.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests;
