//! Who watches what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::outbox::{About, Outbox};
use super::topic::Topic;
use crate::ids::DeviceId;

#[derive(Default)]
pub(super) struct Watchers {
    pub(super) last_no: u64,
    pub(super) fleet: Vec<Arc<Watcher>>,
    pub(super) events: Vec<Arc<Watcher>>,
    pub(super) devices: HashMap<DeviceId, Vec<Arc<Watcher>>>,
    pub(super) places: Vec<(String, Arc<Watcher>)>,
    /// Those that stand for watchers of other nodes: they hear of all that is
    /// rare, whatever is watched elsewhere.
    pub(super) relays: Vec<Arc<Watcher>>,
}

#[derive(Default)]
pub(super) struct Watcher {
    pub(super) no: u64,
    /// Whether it stands for the watchers of other nodes.
    pub(super) is_relay: bool,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) arrived: Notify,
}

pub(super) type Interested<'w> = SmallVec<[&'w Arc<Watcher>; 8]>;

pub(super) fn add<'w>(
    found: &mut Interested<'w>,
    more: impl IntoIterator<Item = &'w Arc<Watcher>>,
) {
    for watcher in more {
        if !found.iter().any(|seen| seen.no == watcher.no) {
            found.push(watcher);
        }
    }
}

impl Watchers {
    pub(super) fn add(&mut self, watcher: &Arc<Watcher>, topics: &[Topic]) {
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

    pub(super) fn remove(&mut self, no: u64, topics: &[Topic]) {
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
    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, about: About, message: Bytes) {
        if self.outbox().push(about, message) {
            self.arrived.notify_one();
        }
    }
}
