//! Who watches what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::device::StatusMessage;
use super::message::{LiveMessage, TelemetryMessage};
use super::outbox::{About, Drained, Outbox};
use super::reading::sample_messages;
use super::topic::Topic;
use crate::device::Reported;
use crate::directory::Directory;
use crate::ids::DeviceId;
use crate::location::is_inside;
use crate::sample::Sample;

/// The most watchers at once; one more is refused.
const WATCHERS_MAX: usize = 1_000;

/// Carries messages to watchers. Costs one atomic load when nobody watches.
pub struct LiveHub {
    directory: Arc<dyn Directory>,
    count: AtomicUsize,
    watchers: RwLock<Watchers>,
}

#[derive(Default)]
struct Watchers {
    last_no: u64,
    fleet: Vec<Arc<Watcher>>,
    events: Vec<Arc<Watcher>>,
    devices: HashMap<DeviceId, Vec<Arc<Watcher>>>,
    places: Vec<(String, Arc<Watcher>)>,
}

#[derive(Default)]
struct Watcher {
    no: u64,
    outbox: Mutex<Outbox>,
    arrived: Notify,
}

/// Nobody else can watch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{WATCHERS_MAX} live connections are open already")]
pub struct TooManyWatchers;

type Interested<'w> = SmallVec<[&'w Arc<Watcher>; 8]>;

impl LiveHub {
    /// A hub without watchers; `directory` tells where devices are.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>) -> Self {
        Self {
            directory,
            count: AtomicUsize::new(0),
            watchers: RwLock::default(),
        }
    }

    /// Adds a watcher that subscribes to nothing yet.
    ///
    /// # Errors
    /// When there are too many.
    pub fn watch(self: &Arc<Self>) -> Result<Subscription, TooManyWatchers> {
        let admitted = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < WATCHERS_MAX).then_some(n + 1)
            });
        admitted.map_err(|_| TooManyWatchers)?;
        let mut watchers = self.write();
        watchers.last_no += 1;
        let watcher = Arc::new(Watcher {
            no: watchers.last_no,
            ..Watcher::default()
        });
        drop(watchers);
        Ok(Subscription {
            hub: Arc::clone(self),
            watcher,
            topics: Vec::new(),
        })
    }

    /// How many watch.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether anybody watches `device`: ask before building a message that is
    /// costly to build.
    #[must_use]
    pub fn wants(&self, device: &DeviceId) -> bool {
        self.watchers() > 0 && {
            let watchers = self.read();
            !self.followers(&watchers, device).is_empty()
        }
    }

    /// Whether anybody watches the whole fleet.
    #[must_use]
    pub fn wants_fleet(&self) -> bool {
        self.watchers() > 0 && !self.read().fleet.is_empty()
    }

    /// Tells of new readings of `device`, in order of their times.
    pub fn telemetry(&self, device: &DeviceId, samples: &[Sample]) {
        if self.wants(device) {
            self.publish(&LiveMessage::Telemetry(TelemetryMessage {
                device_id: device.clone(),
                samples: sample_messages(samples),
            }));
        }
    }

    /// Tells of a device's new report of itself.
    pub fn status(&self, device: &DeviceId, reported: &Reported) {
        if self.wants(device) {
            self.publish(&LiveMessage::Status(StatusMessage::new(
                device.clone(),
                reported,
            )));
        }
    }

    /// Tells everybody who watches what `message` is about. Change the state
    /// that a snapshot shows before publishing the change.
    pub fn publish(&self, message: &LiveMessage) {
        if self.watchers() == 0 {
            return;
        }
        let Some(about) = message.about() else {
            return;
        };
        let watchers = self.read();
        let interested = self.interested(&watchers, message);
        if interested.is_empty() {
            return;
        }
        let Ok(json) = serde_json::to_vec(message) else {
            return;
        };
        let json = Bytes::from(json);
        for watcher in interested {
            watcher.push(about.clone(), json.clone());
        }
    }

    fn interested<'w>(&self, watchers: &'w Watchers, message: &LiveMessage) -> Interested<'w> {
        let mut found = match message {
            LiveMessage::DeviceOnline(it) | LiveMessage::DeviceOffline(it) => {
                let mut found = self.followers(watchers, &it.device_id);
                add(&mut found, &watchers.events);
                found
            }
            LiveMessage::Device(it) => Self::neighbours(watchers, &it.device_id),
            LiveMessage::Removed(it) => Self::neighbours(watchers, &it.device_id),
            LiveMessage::Event(_) => watchers.events.iter().collect(),
            LiveMessage::Fleet(_) => watchers.fleet.iter().collect(),
            LiveMessage::Telemetry(_)
            | LiveMessage::Status(_)
            | LiveMessage::Command(_)
            | LiveMessage::Snapshot(_)
            | LiveMessage::Error(_) => message
                .device()
                .map(|device| self.followers(watchers, device))
                .unwrap_or_default(),
        };
        if let (LiveMessage::Event(_), Some(device)) = (message, message.device()) {
            self.add_close_followers(watchers, device, &mut found);
        }
        found
    }

    /// Who follows `device`, each once.
    fn followers<'w>(&self, watchers: &'w Watchers, device: &DeviceId) -> Interested<'w> {
        let mut found: Interested<'w> = watchers.fleet.iter().collect();
        self.add_close_followers(watchers, device, &mut found);
        found
    }

    /// Who may have to show or forget `device`: it may just have left any place.
    fn neighbours<'w>(watchers: &'w Watchers, device: &DeviceId) -> Interested<'w> {
        let mut found: Interested<'w> = watchers.fleet.iter().collect();
        if let Some(close) = watchers.devices.get(device) {
            add(&mut found, close);
        }
        let places = watchers.places.iter();
        add(&mut found, places.map(|(_, watcher)| watcher));
        found
    }

    /// Adds who follows `device` itself or its place.
    fn add_close_followers<'w>(
        &self,
        watchers: &'w Watchers,
        device: &DeviceId,
        found: &mut Interested<'w>,
    ) {
        if let Some(close) = watchers.devices.get(device) {
            add(found, close);
        }
        if watchers.places.is_empty() {
            return;
        }
        if let Some(device) = self.directory.by_id(device) {
            let location = device.settings.location.as_str();
            let near = watchers.places.iter();
            add(
                found,
                near.filter(|(place, _)| is_inside(location, place))
                    .map(|(_, watcher)| watcher),
            );
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Watchers> {
        self.watchers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Watchers> {
        self.watchers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LiveHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveHub")
            .field("watchers", &self.watchers())
            .finish_non_exhaustive()
    }
}

fn add<'w>(found: &mut Interested<'w>, more: impl IntoIterator<Item = &'w Arc<Watcher>>) {
    for watcher in more {
        if !found.iter().any(|seen| seen.no == watcher.no) {
            found.push(watcher);
        }
    }
}

impl Watchers {
    fn add(&mut self, watcher: &Arc<Watcher>, topics: &[Topic]) {
        for topic in topics {
            let watcher = Arc::clone(watcher);
            match topic {
                Topic::Fleet => self.fleet.push(watcher),
                Topic::Events => self.events.push(watcher),
                Topic::Device(id) => self.devices.entry(id.clone()).or_default().push(watcher),
                Topic::Location(place) => self.places.push((place.clone(), watcher)),
            }
        }
    }

    fn remove(&mut self, no: u64, topics: &[Topic]) {
        for topic in topics {
            match topic {
                Topic::Fleet => self.fleet.retain(|it| it.no != no),
                Topic::Events => self.events.retain(|it| it.no != no),
                Topic::Device(id) => {
                    if let Some(close) = self.devices.get_mut(id) {
                        close.retain(|it| it.no != no);
                        if close.is_empty() {
                            self.devices.remove(id);
                        }
                    }
                }
                Topic::Location(_) => self.places.retain(|(_, it)| it.no != no),
            }
        }
    }
}

impl Watcher {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, about: About, message: Bytes) {
        if self.outbox().push(about, message) {
            self.arrived.notify_one();
        }
    }
}

/// One watcher's end; dropping it ends the watch.
pub struct Subscription {
    hub: Arc<LiveHub>,
    watcher: Arc<Watcher>,
    topics: Vec<Topic>,
}

impl Subscription {
    /// Watches `topics` from now on, and nothing else. What waits next is a
    /// [`Drained::Gap`]: the request for a snapshot.
    pub fn subscribe(&mut self, mut topics: Vec<Topic>) {
        let mut seen = std::collections::HashSet::new();
        topics.retain(|topic| seen.insert(topic.clone()));
        let mut watchers = self.hub.write();
        watchers.remove(self.watcher.no, &self.topics);
        watchers.add(&self.watcher, &topics);
        self.topics = topics;
        self.watcher.outbox().demand_snapshot();
        drop(watchers);
        self.watcher.arrived.notify_one();
    }

    /// What it watches.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// Waits until something is there, then takes at most `limit` messages.
    /// Cancelling loses nothing.
    pub async fn next(&self, limit: usize) -> Drained {
        loop {
            let arrived = self.watcher.arrived.notified();
            {
                let mut outbox = self.watcher.outbox();
                if !outbox.is_empty() {
                    return outbox.take(limit);
                }
            }
            arrived.await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.write().remove(self.watcher.no, &self.topics);
        self.hub.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("no", &self.watcher.no)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}
