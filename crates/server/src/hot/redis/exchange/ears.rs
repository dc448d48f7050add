//! What was heard and not taken yet.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dormouse_core::ports::nodes::{Heard, LogPosition, NodeId};
use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind};
use tokio::sync::Notify;

/// Entries that wait to be taken; beyond it the log is read no further.
const ENTRIES_MAX: usize = 8_192;
/// Hints that wait to be taken; beyond it the oldest go, and a gap is told.
const HINTS_MAX: usize = 4_096;

/// What was heard and not taken yet.
pub(super) struct Heap {
    node: NodeId,
    state: Mutex<State>,
    changed: Notify,
    room: Notify,
    /// Whether the listener hears.
    pub(super) listening: AtomicBool,
}

#[derive(Default)]
struct State {
    log: VecDeque<Vec<(LogPosition, Bytes)>>,
    entries: usize,
    hints: VecDeque<Bytes>,
    /// Whether something was lost, and whether of the log, too.
    gap: Option<bool>,
}

impl Heap {
    pub(super) fn new(node: &NodeId) -> Self {
        Self {
            node: node.clone(),
            state: Mutex::default(),
            changed: Notify::new(),
            room: Notify::new(),
            listening: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gap(&self, log_lost: bool) {
        let mut state = self.state();
        state.gap = Some(log_lost || state.gap.unwrap_or(false));
        drop(state);
        self.changed.notify_one();
    }

    /// Takes entries of the log, when there is room for them.
    pub(super) async fn log(&self, entries: Vec<(LogPosition, Bytes)>) {
        while self.state().entries >= ENTRIES_MAX {
            self.room.notified().await;
        }
        let mut state = self.state();
        state.entries += entries.len();
        state.log.push_back(entries);
        drop(state);
        self.changed.notify_one();
    }

    fn hint(&self, hint: Bytes) {
        let mut state = self.state();
        if state.hints.len() == HINTS_MAX {
            state.hints.pop_front();
            state.gap = Some(state.gap.unwrap_or(false));
        }
        state.hints.push_back(hint);
        drop(state);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Heard> {
        let mut state = self.state();
        if let Some(log_lost) = state.gap.take() {
            return Some(Heard::Gap { log_lost });
        }
        if let Some(entries) = state.log.pop_front() {
            state.entries -= entries.len();
            self.room.notify_one();
            return Some(Heard::Log(entries));
        }
        state.hints.pop_front().map(Heard::Hint)
    }

    pub(super) async fn next(&self) -> Heard {
        loop {
            if let Some(heard) = self.take() {
                return heard;
            }
            self.changed.notified().await;
        }
    }
}

/// Hears what is published, and that the connection is gone.
#[derive(Clone)]
pub(in super::super) struct Ears(Arc<Heap>);

impl Ears {
    pub(super) fn of(heap: &Arc<Heap>) -> Self {
        Self(Arc::clone(heap))
    }
}

impl AsyncPushSender for Ears {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        if info.kind == PushKind::Disconnection {
            self.0.gap(false);
        } else if info.kind == PushKind::Message
            && let Some(payload) = info.data.into_iter().nth(1)
            && let Ok(payload) = redis::from_redis_value::<Vec<u8>>(payload)
            && let Some(hint) = theirs(&self.0.node, &payload.into())
        {
            self.0.hint(hint);
        }
        Ok(())
    }
}

/// What a node publishes: its name, a line feed, the hint.
pub(super) fn signed(node: &NodeId, hint: &[u8]) -> Vec<u8> {
    [node.0.as_bytes(), b"\n", hint].concat()
}

/// The hint in what was published by another node than `us`.
fn theirs(us: &NodeId, published: &Bytes) -> Option<Bytes> {
    let end = published.iter().position(|byte| *byte == b'\n')?;
    (published[..end] != *us.0.as_bytes()).then(|| published.slice(end + 1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_hints_are_not_heard() {
        let [us, they] = ["a", "b"].map(|name| NodeId(name.into()));
        assert_eq!(theirs(&us, &signed(&us, b"x").into()), None);
        let hint = theirs(&us, &signed(&they, b"x\ny").into());
        assert_eq!(hint, Some(Bytes::from_static(b"x\ny")));
    }

    #[tokio::test]
    async fn too_many_hints_are_a_gap() {
        let heap = Heap::new(&NodeId("a".into()));
        for n in 0..=HINTS_MAX {
            heap.hint(n.to_string().into());
        }
        assert_eq!(heap.next().await, Heard::Gap { log_lost: false });
        assert_eq!(heap.next().await, Heard::Hint("1".into()));
    }
}
