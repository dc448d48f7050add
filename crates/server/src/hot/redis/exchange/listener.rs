//! Reads the log as it grows and hears hints, on a connection of its own,
//! and tells when something was lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dormouse_core::ports::nodes::LogPosition;
use redis::{RedisResult, Value};
use tokio_util::sync::CancellationToken;

use super::ears::{Ears, Heap};
use super::{entries, entries_read};
use crate::hot::redis::OpenError;
use crate::hot::redis::connect::Conn;
use crate::hot::redis::keys::Keys;
use crate::hot::redis::link::{Link, reconnecting};
use crate::hot::redis::marks;
use crate::hot::redis::server::explain;

/// How long one read waits for entries.
const BLOCK: Duration = Duration::from_secs(1);
/// How long a read may take at all.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most entries of one read.
const READ_MAX: usize = 512;

/// A place in the log as Redis compares them.
type Id = (u64, u64);

pub(super) struct Listener {
    link: Arc<Link>,
    log: String,
    mark: String,
    hints: String,
    heap: Arc<Heap>,
    conn: Option<Conn>,
    /// The last entry heard; `None` before the first connection.
    position: Option<Id>,
    /// What the log was marked with.
    known: Option<String>,
}

impl Listener {
    pub(super) fn new(link: &Arc<Link>, keys: &Keys, heap: &Arc<Heap>) -> Self {
        Self {
            link: Arc::clone(link),
            log: keys.log(),
            mark: keys.log_mark(),
            hints: keys.hints(),
            heap: Arc::clone(heap),
            conn: None,
            position: None,
            known: None,
        }
    }

    /// Connects for the first time: what comes after that is heard.
    pub(super) async fn ready(mut self) -> Result<Self, OpenError> {
        let connected = self.connect().await;
        connected.map_err(|error| explain(&self.link.target, &error))?;
        Ok(self)
    }

    /// Listens until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let token = stop.clone();
        token.run_until_cancelled(self.listen()).await;
        self.heap.listening.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn listen(&mut self) -> Infallible {
        let mut backoff = reconnecting();
        loop {
            let outcome = match self.conn.take() {
                Some(conn) => {
                    backoff.reset();
                    self.hear(conn).await.map(|never| match never {})
                }
                None => self.connect().await,
            };
            if let Err(error) = outcome {
                self.heap.listening.store(false, Ordering::Relaxed);
                tracing::debug!(%error, "not listening to other nodes");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }

    async fn connect(&mut self) -> RedisResult<()> {
        let ears = Ears::of(&self.heap);
        let mut conn = Conn::open(&self.link.target(), Some(ears), PATIENCE).await?;
        conn.subscribe(&self.hints).await?;
        let first = self.position.is_none();
        let lost = self.orient(&mut conn).await?;
        if !first {
            self.heap.gap(lost);
        }
        self.heap.listening.store(true, Ordering::Relaxed);
        self.conn = Some(conn);
        Ok(())
    }

    /// Hears entries for as long as the connection lasts.
    async fn hear(&mut self, mut conn: Conn) -> RedisResult<Infallible> {
        loop {
            let (ms, seq) = self.position.unwrap_or_default();
            let mut read = redis::cmd("XREAD");
            let block_ms = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
            read.arg("BLOCK").arg(block_ms).arg("COUNT").arg(READ_MAX);
            read.arg("STREAMS")
                .arg(&self.log)
                .arg(format!("{ms}-{seq}"));
            let entries = entries_read(conn.query(&read).await?);
            if self.is_another(&mut conn).await? {
                self.heap.gap(true);
                let last = self.last(&mut conn).await?;
                if last < self.position {
                    self.position = Some((0, 0));
                    continue;
                }
            }
            if let Some((position, _)) = entries.last() {
                self.position = id_of(position).or(self.position);
                self.heap.log(entries).await;
            }
        }
    }

    /// Finds the position after a new connection; says whether entries are lost.
    async fn orient(&mut self, conn: &mut Conn) -> RedisResult<bool> {
        let another = self.is_another(conn).await?;
        let last = self.last(conn).await?;
        let Some(position) = self.position else {
            self.position = Some(last.unwrap_or_default());
            return Ok(false);
        };
        if position == (0, 0) {
            return Ok(another);
        }
        let went_back = last < Some(position);
        if another || went_back {
            if went_back {
                self.position = Some((0, 0));
            }
            return Ok(true);
        }
        // Trimmed away meanwhile, perhaps with others after it.
        let mut range = redis::cmd("XRANGE");
        let id = format!("{}-{}", position.0, position.1);
        range.arg(&self.log).arg(&id).arg(&id);
        Ok(entries(conn.query(&range).await?).is_empty())
    }

    /// Whether this is another log than before: its mark is gone, or new.
    async fn is_another(&mut self, conn: &mut Conn) -> RedisResult<bool> {
        let fresh = marks::fresh();
        let there: Option<String> = conn.query(&marks::mark(&self.mark, &fresh)).await?;
        let now = there.unwrap_or(fresh);
        let another = self.known.as_ref().is_some_and(|known| *known != now);
        self.known = Some(now);
        Ok(another)
    }

    /// The newest entry.
    async fn last(&self, conn: &mut Conn) -> RedisResult<Option<Id>> {
        let mut range = redis::cmd("XREVRANGE");
        range.arg(&self.log).arg("+").arg("-").arg("COUNT").arg(1);
        let last = entries(conn.query::<Value>(&range).await?);
        Ok(last.first().and_then(|(position, _)| id_of(position)))
    }
}

fn id_of(position: &LogPosition) -> Option<Id> {
    let (ms, seq) = position.0.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}
