//! Tells other nodes: entries of the log and hints, in small batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::NodeId;
use redis::{RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::ears::{Heap, signed};
use crate::hot::redis::Redis;

/// Entries that wait while Redis is away; what comes beyond it is dropped, and
/// a gap is told here.
const ENTRIES_MAX: usize = 4_096;
/// Hints that wait; beyond it the oldest are dropped.
const HINTS_MAX: usize = 4_096;
/// What one round trip carries of either.
const AT_ONCE: usize = 256;
/// How far back the log reaches, s: a new leader begins where the last one
/// was, seconds ago.
const REACH_S: u64 = 120;
/// A log that nobody writes is gone after this long, s.
const TTL_S: u64 = 3_600;
/// How long a log that Redis refuses waits until it is tried again.
const REFUSED: Duration = Duration::from_millis(250);
/// How long a reader waits for what was logged here before.
const PATIENCE: Duration = Duration::from_millis(900);

pub(super) struct Speaker {
    redis: Redis,
    log_key: String,
    channel: String,
    node: NodeId,
    heap: Arc<Heap>,
    waiting: Mutex<Waiting>,
    dirty: Notify,
    /// How many entries were logged.
    spoken: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    log: VecDeque<Bytes>,
    hints: VecDeque<Bytes>,
    /// How many entries were taken, of which `spoken` are logged.
    taken: u64,
}

impl Speaker {
    pub(super) fn new(redis: &Redis, node: &NodeId, heap: &Arc<Heap>) -> Arc<Self> {
        Arc::new(Self {
            redis: redis.clone(),
            log_key: redis.keys.log(),
            channel: redis.keys.hints(),
            node: node.clone(),
            heap: Arc::clone(heap),
            waiting: Mutex::default(),
            dirty: Notify::new(),
            spoken: watch::Sender::new(0),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self, entry: Bytes) {
        let mut waiting = self.waiting();
        if waiting.log.len() == ENTRIES_MAX {
            drop(waiting);
            self.heap.gap(true);
            return;
        }
        waiting.taken += 1;
        waiting.log.push_back(entry);
        drop(waiting);
        self.dirty.notify_one();
    }

    pub(super) fn hint(&self, hint: Bytes) {
        let mut waiting = self.waiting();
        if waiting.hints.len() == HINTS_MAX {
            waiting.hints.pop_front();
        }
        waiting.hints.push_back(hint);
        drop(waiting);
        self.dirty.notify_one();
    }

    /// Waits until all that was taken before is logged.
    pub(super) async fn spoken(&self) -> Result<(), PortError> {
        self.redis.link.check()?;
        let wanted = self.waiting().taken;
        let (mut spoken, mut up) = (self.spoken.subscribe(), self.redis.link.up());
        let waiting = async {
            tokio::select! {
                _ = spoken.wait_for(|spoken| *spoken >= wanted) => Ok(()),
                _ = up.wait_for(|up| !up) => self.redis.link.check(),
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await;
        in_time.unwrap_or_else(|_| Err(PortError::unavailable("redis does not keep up")))
    }

    /// Speaks until `stop`, and once more then.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut up = self.redis.link.up();
        loop {
            let ready = async {
                self.dirty.notified().await;
                up.wait_for(|up| *up).await.ok();
            };
            let stopping = stop.run_until_cancelled(ready).await.is_none();
            let mut spoke = self.speak().await;
            while spoke == Spoke::Some {
                spoke = self.speak().await;
            }
            if stopping {
                return Ok(());
            }
            if spoke == Spoke::Refused {
                stop.run_until_cancelled(tokio::time::sleep(REFUSED)).await;
            }
        }
    }

    /// Sends some of what waits.
    async fn speak(&self) -> Spoke {
        let (entries, hints) = {
            let mut waiting = self.waiting();
            let (log, hints) = (waiting.log.len(), waiting.hints.len());
            let entries: Vec<_> = waiting.log.drain(..log.min(AT_ONCE)).collect();
            let hints: Vec<_> = waiting.hints.drain(..hints.min(AT_ONCE)).collect();
            (entries, hints)
        };
        if entries.is_empty() && hints.is_empty() {
            return Spoke::Nothing;
        }
        let mut commands = Vec::new();
        for hint in &hints {
            let mut command = redis::cmd("PUBLISH");
            command.arg(&self.channel).arg(signed(&self.node, hint));
            commands.push(command);
        }
        if !entries.is_empty() {
            let mut command = self.redis.scripts.log.on(&[&self.log_key]);
            command.arg(REACH_S).arg(TTL_S);
            entries.iter().for_each(|entry| {
                command.arg(entry.as_ref());
            });
            commands.push(command);
        }
        let answers = self.redis.link.run(commands).await;
        // The log's comes last. It is refused as a whole.
        let refused = |answers: &Vec<RedisResult<Value>>| {
            let log = answers.last().filter(|_| !entries.is_empty());
            log.is_some_and(Result::is_err)
        };
        let spoke = match &answers {
            Ok(answers) if refused(answers) => Spoke::Refused,
            Ok(_) => {
                let logged = entries.len() as u64;
                self.spoken.send_modify(|spoken| *spoken += logged);
                return Spoke::Some;
            }
            Err(_) => Spoke::Nothing,
        };
        // Hints may be lost. Entries follow when Redis is back or takes them;
        // then some may stand there twice.
        let mut waiting = self.waiting();
        for entry in entries.into_iter().rev() {
            waiting.log.push_front(entry);
        }
        drop(waiting);
        self.dirty.notify_one();
        spoke
    }
}

/// What came of speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoke {
    /// Some was sent; there may be more.
    Some,
    /// There was nothing, or nobody to tell.
    Nothing,
    /// Redis is there, but does not take the log.
    Refused,
}
