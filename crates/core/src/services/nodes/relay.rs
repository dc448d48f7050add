//! Live messages between nodes: one watcher of this node's hub stands for the
//! watchers of all others.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Hint;
use crate::clock::Instant;
use crate::live::{About, LiveHub, Subscription, Topic};
use crate::memory::lock;
use crate::ports::nodes::NodeId;

/// How often nodes say what their watchers want where nothing changes.
const SAY_AGAIN: Duration = Duration::from_secs(2);
/// How long what a node said holds.
const FORGET: Duration = Duration::from_secs(7);
/// Topics named to others; where watchers have more, everything is relayed.
const TOPICS: usize = 256;
/// Messages taken at a time.
const TAKE: usize = 1_024;
/// Bytes of messages in one hint, about.
const HINT_BYTES: usize = 128 * 1_024;

pub(super) struct Relay {
    hub: Arc<LiveHub>,
    /// Hears of commands and events always, of readings while somebody
    /// elsewhere watches; `None` where the hub had no room for it.
    watch: Option<Subscription>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wanted: HashMap<NodeId, (HashSet<Topic>, Instant)>,
    told: Option<(Vec<String>, Instant)>,
}

impl Relay {
    pub(super) fn new(hub: Arc<LiveHub>) -> Self {
        Self {
            watch: hub.relay().ok(),
            hub,
            state: Mutex::default(),
        }
    }

    /// Another node's watchers want this.
    pub(super) fn heard(&self, node: NodeId, topics: &[String], now: Instant) {
        let topics: HashSet<Topic> = topics
            .iter()
            .filter_map(|text| Topic::parse(text).ok())
            .collect();
        let mut state = lock(&self.state);
        let before = state.wanted.insert(node, (topics.clone(), now));
        if before.is_none_or(|(before, _)| before != topics) {
            self.follow(&state);
        }
    }

    pub(super) fn forget_silent(&self, now: Instant) {
        let mut state = lock(&self.state);
        let count = state.wanted.len();
        state
            .wanted
            .retain(|_, (_, heard)| now.since(*heard) < FORGET);
        if state.wanted.len() != count {
            self.follow(&state);
        }
    }

    /// What to tell the others of this node's watchers, if it is time.
    pub(super) fn to_tell(&self, now: Instant) -> Option<Vec<String>> {
        let topics = self.hub.topics(TOPICS);
        let topics: Vec<String> = topics.iter().map(Topic::to_string).collect();
        let mut state = lock(&self.state);
        let holds = state
            .told
            .as_ref()
            .is_some_and(|(told, at)| *told == topics && now.since(*at) < SAY_AGAIN);
        if holds {
            return None;
        }
        state.told = Some((topics.clone(), now));
        Some(topics)
    }

    fn follow(&self, state: &State) {
        let wanted = state.wanted.values().flat_map(|(topics, _)| topics);
        let wanted: HashSet<Topic> = wanted.cloned().collect();
        if let Some(watch) = &self.watch {
            watch.follow(wanted.into_iter().collect());
        }
    }

    /// Waits until there is something to relay.
    pub(super) async fn filled(&self) {
        match &self.watch {
            Some(watch) => watch.filled().await,
            None => std::future::pending().await,
        }
    }

    /// Takes what there is to relay.
    pub(super) fn take(&self) -> Vec<Hint> {
        let Some(watch) = &self.watch else {
            return Vec::new();
        };
        let Some(told) = watch.take(TAKE) else {
            return vec![Hint::LiveGap];
        };
        let mut hints = Vec::new();
        let mut messages = Vec::new();
        let mut bytes = 0;
        for (about, message) in told {
            // Of these every node hears by itself.
            if is_known_everywhere(&about) {
                continue;
            }
            let Ok(message) = String::from_utf8(message.into()) else {
                continue;
            };
            bytes += message.len();
            messages.push((about, message));
            if bytes >= HINT_BYTES {
                bytes = 0;
                let messages = std::mem::take(&mut messages);
                hints.push(Hint::Live { messages });
            }
        }
        if !messages.is_empty() {
            hints.push(Hint::Live { messages });
        }
        hints
    }
}

/// Presence comes with the log, devices with the store, reports with hints of
/// their own, and each node counts its totals itself.
const fn is_known_everywhere(about: &About) -> bool {
    match about {
        About::Presence(_) | About::Device(_) | About::Status(_) | About::Totals => true,
        About::Telemetry(_) | About::Command(..) | About::Event(..) => false,
    }
}
