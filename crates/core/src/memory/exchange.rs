//! A log and hints among nodes of one process, and the exchange of a site
//! that has one node only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;

use super::lock;
use crate::ports::PortError;
use crate::ports::nodes::{Exchange, Heard, LogPosition};

/// Entries of the log that are kept; beyond it the oldest go, and who had not
/// read them hears of a gap.
const LOG_MAX: usize = 16_384;
/// Hints that wait for one node; beyond it the oldest go, and it hears of a gap.
const HINTS_MAX: usize = 4_096;
/// Entries of one answer at most.
const READ_MAX: usize = 512;
/// Entries that one node keeps while it cannot reach the log; what comes
/// beyond it is dropped, and the node hears of a gap.
const BUFFER_MAX: usize = 4_096;

/// Where the nodes of one process meet: each joins once.
#[derive(Debug, Default)]
pub struct MemoryHub {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    log: VecDeque<Bytes>,
    /// The position of the first entry in `log`; positions start at 1.
    first: u64,
    reachable: bool,
    /// One per node that ever joined.
    nodes: Vec<Node>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            log: VecDeque::new(),
            first: 1,
            reachable: true,
            nodes: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Node {
    /// The position of the entry that it hears next.
    next: u64,
    hints: VecDeque<Bytes>,
    waiting: Vec<Bytes>,
    gap: Option<bool>,
}

/// One node's side of a [`MemoryHub`].
#[derive(Debug)]
pub struct MemoryExchange {
    hub: Arc<MemoryHub>,
    node: usize,
}

impl MemoryHub {
    /// An empty log that can be reached.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Joins as one more node.
    #[must_use]
    pub fn join(self: &Arc<Self>) -> MemoryExchange {
        let mut state = lock(&self.state);
        let next = state.end();
        state.nodes.push(Node {
            next,
            hints: VecDeque::new(),
            waiting: Vec::new(),
            gap: None,
        });
        MemoryExchange {
            hub: Arc::clone(self),
            node: state.nodes.len() - 1,
        }
    }

    /// Takes the hub out of every node's reach, or brings it back: entries
    /// logged meanwhile follow then, hints are lost.
    pub fn set_reachable(&self, reachable: bool) {
        let mut state = lock(&self.state);
        if reachable && !state.reachable {
            for node in 0..state.nodes.len() {
                let waiting = std::mem::take(&mut state.nodes[node].waiting);
                waiting.into_iter().for_each(|entry| state.append(entry));
                state.nodes[node].miss(false);
            }
        }
        state.reachable = reachable;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Loses the log, as an engine does that comes back empty.
    pub fn lose_log(&self) {
        let mut state = lock(&self.state);
        let end = state.end();
        state.log.clear();
        state.first = end;
        for node in &mut state.nodes {
            node.next = end;
            node.miss(true);
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    fn append(&mut self, entry: Bytes) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
            self.first += 1;
        }
        self.log.push_back(entry);
    }

    /// At most `limit` entries from position `from` on.
    fn entries(&self, from: u64, limit: usize) -> Vec<(LogPosition, Bytes)> {
        let from = from.max(self.first);
        let skip = usize::try_from(from - self.first).unwrap_or(usize::MAX);
        let entries = self.log.iter().skip(skip).take(limit);
        (from..)
            .zip(entries)
            .map(|(at, entry)| (LogPosition(at.to_string().into()), entry.clone()))
            .collect()
    }

    /// What `node` hears next, if there is something.
    fn heard(&mut self, node: usize) -> Option<Heard> {
        if !self.reachable {
            return None;
        }
        let first = self.first;
        let it = &mut self.nodes[node];
        if it.next < first {
            it.next = first;
            it.miss(true);
        }
        if let Some(log_lost) = it.gap.take() {
            return Some(Heard::Gap { log_lost });
        }
        let next = it.next;
        let entries = self.entries(next, READ_MAX);
        let it = &mut self.nodes[node];
        if !entries.is_empty() {
            it.next += entries.len() as u64;
            return Some(Heard::Log(entries));
        }
        it.hints.pop_front().map(Heard::Hint)
    }
}

impl Node {
    fn miss(&mut self, log_lost: bool) {
        self.gap = Some(log_lost || self.gap.unwrap_or(false));
    }
}

impl MemoryExchange {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.hub.state)
    }
}

#[async_trait]
impl Exchange for MemoryExchange {
    fn log(&self, entry: Bytes) {
        let mut state = self.state();
        if state.reachable {
            state.append(entry);
        } else if state.nodes[self.node].waiting.len() < BUFFER_MAX {
            state.nodes[self.node].waiting.push(entry);
        } else {
            state.nodes[self.node].miss(true);
        }
        drop(state);
        self.hub.changed.notify_waiters();
    }

    fn hint(&self, hint: Bytes) {
        let mut state = self.state();
        if !state.reachable {
            return;
        }
        for (index, node) in state.nodes.iter_mut().enumerate() {
            if index == self.node {
                continue;
            }
            if node.hints.len() == HINTS_MAX {
                node.hints.pop_front();
                node.miss(false);
            }
            node.hints.push_back(hint.clone());
        }
        drop(state);
        self.hub.changed.notify_waiters();
    }

    async fn next(&self) -> Heard {
        loop {
            let changed = self.hub.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(heard) = self.state().heard(self.node) {
                return heard;
            }
            changed.await;
        }
    }

    async fn read(
        &self,
        position: Option<&LogPosition>,
        limit: usize,
    ) -> Result<Vec<(LogPosition, Bytes)>, PortError> {
        let state = self.state();
        if !state.reachable {
            return Err(PortError::unavailable("the hub is out of reach"));
        }
        let from = match position {
            None => 0,
            Some(LogPosition(text)) => {
                1 + text.parse::<u64>().map_err(|_| {
                    PortError::Corrupt(format!("{text:?} is no position of this log"))
                })?
            }
        };
        Ok(state.entries(from, limit))
    }

    fn connected(&self) -> bool {
        self.state().reachable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        let hub = MemoryHub::new();
        crate::contract::exchange(&hub.join(), &hub.join()).await;
    }

    #[tokio::test]
    async fn out_of_reach_entries_wait_and_hints_are_lost() {
        let hub = MemoryHub::new();
        let [a, b] = [hub.join(), hub.join()];
        hub.set_reachable(false);
        assert!(!a.connected() && a.read(None, 1).await.is_err());
        a.log(Bytes::from_static(b"entry"));
        a.hint(Bytes::from_static(b"hint"));
        hub.set_reachable(true);
        assert_eq!(b.next().await, Heard::Gap { log_lost: false });
        let Heard::Log(entries) = b.next().await else {
            panic!("the entry follows");
        };
        assert_eq!(entries[0].1, "entry");
        assert_eq!(lock(&hub.state).heard(1), None);
    }

    #[tokio::test]
    async fn who_falls_behind_the_log_or_loses_it_hears_of_a_gap() {
        let hub = MemoryHub::new();
        let node = hub.join();
        for _ in 0..=LOG_MAX {
            node.log(Bytes::from_static(b"x"));
        }
        assert_eq!(node.next().await, Heard::Gap { log_lost: true });
        hub.lose_log();
        assert_eq!(node.next().await, Heard::Gap { log_lost: true });
        node.log(Bytes::from_static(b"y"));
        assert!(matches!(node.next().await, Heard::Log(entries) if entries.len() == 1));
    }
}
