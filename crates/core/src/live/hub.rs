//! Hands messages to those who watch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;

use super::device::StatusMessage;
use super::message::{LiveMessage, TelemetryMessage};
use super::outbox::{About, Drained};
use super::reading::sample_messages;
use super::topic::Topic;
use super::watchers::{Interested, Watcher, Watchers, add};
use crate::device::Reported;
use crate::directory::Directory;
use crate::ids::DeviceId;
use crate::location::is_inside;
use crate::memory::lock;
use crate::sample::Sample;

/// The most watchers at once; one more is refused.
const WATCHERS_MAX: usize = 1_000;

/// Carries messages to watchers. Costs one atomic load when nobody watches.
pub struct LiveHub {
    directory: Arc<dyn Directory>,
    count: AtomicUsize,
    watchers: RwLock<Watchers>,
}

/// Nobody else can watch now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{WATCHERS_MAX} live connections are open already")]
pub struct TooManyWatchers;

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
        self.add(false)
    }

    /// Adds a watcher that stands for those of other nodes: it hears nothing
    /// that another node published.
    ///
    /// # Errors
    /// When there are too many.
    pub fn relay(self: &Arc<Self>) -> Result<Subscription, TooManyWatchers> {
        self.add(true)
    }

    fn add(self: &Arc<Self>, is_relay: bool) -> Result<Subscription, TooManyWatchers> {
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
            is_relay,
            ..Watcher::default()
        });
        if is_relay {
            watchers.relays.push(Arc::clone(&watcher));
        }
        drop(watchers);
        Ok(Subscription {
            hub: Arc::clone(self),
            watcher,
            topics: Mutex::default(),
        })
    }

    /// How many watch, those that stand for watchers of other nodes included.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many people watch at this node.
    #[must_use]
    pub fn own_watchers(&self) -> usize {
        let relays = self.read().relays.len();
        self.watchers().saturating_sub(relays)
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

    /// Whether anybody hears of commands to `device`.
    #[must_use]
    pub fn wants_commands(&self, device: &DeviceId) -> bool {
        self.watchers() > 0 && (!self.read().relays.is_empty() || self.wants(device))
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
        let interested = self.interested(&watchers, &about);
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

    /// Tells this node's watchers what another node published.
    pub fn publish_relayed(&self, about: &About, json: &Bytes) {
        if self.watchers() == 0 {
            return;
        }
        let watchers = self.read();
        for watcher in self.interested(&watchers, about) {
            if !watcher.is_relay {
                watcher.push(about.clone(), json.clone());
            }
        }
    }

    /// Messages of other nodes were lost: this node's watchers get new
    /// snapshots.
    pub fn demand_snapshots(&self) {
        let watchers = self.read();
        let followers = watchers.devices.values().flatten();
        let near = watchers.places.iter().map(|(_, watcher)| watcher);
        let all = watchers.fleet.iter().chain(&watchers.events);
        for watcher in all.chain(followers).chain(near) {
            if !watcher.is_relay {
                watcher.outbox().demand_snapshot();
                watcher.arrived.notify_one();
            }
        }
    }

    /// What this node's own watchers subscribe to, each topic once, at most
    /// `limit`; where there are more, the whole fleet and every event.
    #[must_use]
    pub fn topics(&self, limit: usize) -> Vec<Topic> {
        let watchers = self.read();
        let own = |them: &[Arc<Watcher>]| them.iter().any(|it| !it.is_relay);
        let mut topics: Vec<Topic> = Vec::new();
        topics.extend(own(&watchers.fleet).then_some(Topic::Fleet));
        topics.extend(own(&watchers.events).then_some(Topic::Events));
        let places = watchers.places.iter().filter(|(_, it)| !it.is_relay);
        let places: std::collections::BTreeSet<&String> = places.map(|(place, _)| place).collect();
        topics.extend(places.into_iter().cloned().map(Topic::Location));
        let devices = watchers.devices.iter().filter(|(_, them)| own(them));
        topics.extend(devices.map(|(id, _)| Topic::Device(id.clone())));
        if topics.len() > limit {
            topics = vec![Topic::Fleet, Topic::Events];
        }
        topics
    }

    fn interested<'w>(&self, watchers: &'w Watchers, about: &About) -> Interested<'w> {
        match about {
            About::Presence(device) => {
                let mut found = self.followers(watchers, device);
                add(&mut found, &watchers.events);
                found
            }
            About::Device(device) => Self::neighbours(watchers, device),
            About::Event(_, device) => {
                let mut found = watchers.events.iter().collect();
                if let Some(device) = device {
                    self.add_close_followers(watchers, device, &mut found);
                }
                add(&mut found, &watchers.relays);
                found
            }
            About::Command(_, device) => {
                let mut found = self.followers(watchers, device);
                add(&mut found, &watchers.relays);
                found
            }
            About::Totals => watchers.fleet.iter().collect(),
            About::Telemetry(device) | About::Status(device) => self.followers(watchers, device),
        }
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

/// One watcher's end; dropping it ends the watch.
pub struct Subscription {
    hub: Arc<LiveHub>,
    watcher: Arc<Watcher>,
    topics: Mutex<Vec<Topic>>,
}

impl Subscription {
    /// Watches `topics` from now on, and nothing else. What waits next is a
    /// [`Drained::Gap`]: the request for a snapshot.
    pub fn subscribe(&self, topics: Vec<Topic>) {
        self.follow(topics);
        self.watcher.outbox().demand_snapshot();
        self.watcher.arrived.notify_one();
    }

    /// Watches `topics` from now on, and nothing else; what waits still comes.
    pub fn follow(&self, mut topics: Vec<Topic>) {
        let mut seen = std::collections::HashSet::new();
        topics.retain(|topic| seen.insert(topic.clone()));
        let mut held = lock(&self.topics);
        let mut watchers = self.hub.write();
        watchers.remove(self.watcher.no, &held);
        watchers.add(&self.watcher, &topics);
        drop(watchers);
        *held = topics;
    }

    /// What it watches.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        lock(&self.topics).clone()
    }

    /// Takes at most `limit` messages with what each is about; `None` where
    /// some were lost.
    pub fn take(&self, limit: usize) -> Option<Vec<(About, Bytes)>> {
        self.watcher.outbox().take_told(limit)
    }

    /// Waits until something is there. Cancelling loses nothing.
    pub async fn filled(&self) {
        loop {
            let arrived = self.watcher.arrived.notified();
            if !self.watcher.outbox().is_empty() {
                return;
            }
            arrived.await;
        }
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
        let mut watchers = self.hub.write();
        watchers.remove(self.watcher.no, &lock(&self.topics));
        watchers.relays.retain(|it| it.no != self.watcher.no);
        drop(watchers);
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
