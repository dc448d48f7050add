//! What a node knows of the log that it follows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::record::News;
use crate::clock::{Instant, Timestamp};
use crate::event::Event;
use crate::ids::{DeviceKey, EventId};
use crate::ports::nodes::{Fence, LogPosition, NodeId};
use crate::presence::Presence;

/// Changes whose events are not known to be kept. Beyond it the oldest are
/// dropped and counted: no leader could keep any for a long time.
const UNKEPT_MAX: usize = 100_000;
/// News of devices that this node does not know yet. Beyond it all are
/// dropped: the next sign of life says the same.
const STRANGE_MAX: usize = 1_000;
/// How long a node whose own way from the broker is broken is waited for.
const LINK_PATIENCE: Duration = Duration::from_secs(60);

/// Where in the log something stood.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) entry: LogPosition,
    pub(super) record: u32,
}

/// A change whose event is not known to be kept.
#[derive(Debug, Clone)]
pub(super) struct Unkept {
    pub(super) event: Event,
    pub(super) presence: Presence,
    /// The last entry whose changes are all older.
    before: Option<LogPosition>,
}

/// One thing heard of one device.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Alive,
    News(News),
}

#[derive(Debug, Default)]
pub(super) struct Followed {
    /// The newest leader's.
    fence: Option<Fence>,
    /// The last entry that was followed.
    at: Option<LogPosition>,
    /// Entries that were read at the start and will be heard again.
    again: HashSet<LogPosition>,
    unkept: VecDeque<Unkept>,
    pub(super) dropped: u64,
    strange: HashMap<DeviceKey, Vec<(Place, Timestamp, Told)>>,
    strange_count: usize,
    /// Nodes to which nothing comes from the broker, and since when.
    cut_off: HashMap<NodeId, Instant>,
}

impl Followed {
    /// Whether an entry heard now is to be followed.
    pub(super) fn begin(&mut self, entry: &LogPosition) -> bool {
        self.again.is_empty() || !self.again.remove(entry)
    }

    pub(super) fn end(&mut self, entry: LogPosition) {
        self.at = Some(entry);
    }

    /// An entry was read ahead of being heard.
    pub(super) fn read_ahead(&mut self, entry: LogPosition) {
        self.again.insert(entry);
    }

    /// Nothing that was read ahead comes any more.
    pub(super) fn lose(&mut self) {
        self.again.clear();
    }

    pub(super) fn keep(&mut self, event: Event, presence: Presence) {
        if self.unkept.len() == UNKEPT_MAX {
            self.unkept.pop_front();
            self.dropped += 1;
        }
        let before = self.at.clone();
        self.unkept.push_back(Unkept {
            event,
            presence,
            before,
        });
    }

    /// The oldest changes that are not known to be kept.
    pub(super) fn unkept(&self, limit: usize) -> Vec<Unkept> {
        self.unkept.iter().take(limit).cloned().collect()
    }

    /// Whether `fence` is not a former leader's; notes it.
    pub(super) fn is_lead(&mut self, fence: Fence) -> bool {
        let is_former = self.fence.is_some_and(|newest| fence < newest);
        if !is_former {
            self.fence = Some(fence);
        }
        !is_former
    }

    /// Everything up to and with `last` is kept.
    pub(super) fn kept(&mut self, last: EventId) {
        if let Some(place) = self.unkept.iter().position(|it| it.event.id == last) {
            self.unkept.drain(..=place);
        }
    }

    /// Up to where in the log every change is kept.
    pub(super) fn kept_until(&self) -> Option<LogPosition> {
        match self.unkept.front() {
            Some(first) => first.before.clone(),
            None => self.at.clone(),
        }
    }

    pub(super) fn strange(&mut self, key: DeviceKey, told: (Place, Timestamp, Told)) {
        if self.strange_count >= STRANGE_MAX {
            self.strange.clear();
            self.strange_count = 0;
        }
        self.strange.entry(key).or_default().push(told);
        self.strange_count += 1;
    }

    /// What was told of a device before it was known here.
    pub(super) fn no_longer_strange(&mut self, key: DeviceKey) -> Vec<(Place, Timestamp, Told)> {
        let told = self.strange.remove(&key).unwrap_or_default();
        self.strange_count -= told.len();
        told
    }

    pub(super) fn set_link(&mut self, node: NodeId, whole: bool, now: Instant) {
        if whole {
            self.cut_off.remove(&node);
        } else {
            self.cut_off.entry(node).or_insert(now);
        }
    }

    /// Whether messages may wait where no node sees them.
    pub(super) fn waits_for_links(&mut self, now: Instant) -> bool {
        self.cut_off
            .retain(|_, since| now.since(*since) < LINK_PATIENCE);
        !self.cut_off.is_empty()
    }
}
