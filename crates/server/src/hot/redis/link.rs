//! The one connection that all share: it answers or fails at once, and a
//! supervisor brings it back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dormouse_core::ports::PortError;
use redis::{
    Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::OpenError;
use super::address::address;
use super::connect::{Conn, is_down, pipeline};
use super::keys::Keys;
use super::marks::Marks;
use super::refusals::Refusals;
use super::server::explain;
use super::settings::Target;
use crate::backoff::Backoff;

/// How long an answer may take, all in all.
const PATIENCE: Duration = Duration::from_millis(800);
/// How often a quiet connection is tried.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After how many of these the servers of a cluster are looked up again.
const BEATS_PER_LOOK: u32 = 60;
/// The first wait between attempts to connect, at most.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait between attempts to connect.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// The shared connection.
pub(super) struct Link {
    pub(super) target: Target,
    /// Where a cluster's servers are, beside those that the address names:
    /// those may be gone when the others are needed.
    servers: Mutex<Vec<ConnectionAddr>>,
    current: Mutex<Current>,
    up: watch::Sender<bool>,
    broken: Notify,
    emptied: watch::Sender<u64>,
    refusals: Refusals,
    marks: Marks,
}

#[derive(Default)]
struct Current {
    conn: Option<Conn>,
    /// Rises with every connection.
    generation: u64,
    problem: Option<String>,
}

impl Current {
    fn unavailable(&self) -> PortError {
        let problem = self.problem.as_deref().unwrap_or("not connected");
        PortError::unavailable(format!("redis: {problem}"))
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("up", &*self.up.borrow())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Connects for the first time.
    ///
    /// # Errors
    /// When that fails, or the server cannot serve.
    pub(super) async fn open(mut target: Target, keys: Keys) -> Result<Arc<Self>, OpenError> {
        let mut conn = Conn::open(&target, None, PATIENCE)
            .await
            .map_err(|error| explain(&target, &error))?;
        let server = conn
            .server()
            .await
            .map_err(|error| explain(&target, &error))?;
        let wrong = |problem: String| OpenError {
            setting: "hot.url".to_owned(),
            problem,
        };
        if server.is_too_old() {
            let problem = format!(
                "leads to Redis {} at {}; Dormouse needs 7 or later",
                server.version,
                target.name()
            );
            return Err(wrong(problem));
        }
        if target.cluster && !server.cluster {
            let problem = format!(
                "says that Redis at {} is a Cluster, but it is not one: use redis://",
                target.name()
            );
            return Err(wrong(problem));
        }
        if server.cluster && !target.cluster {
            target.cluster = true;
            conn = Conn::open(&target, None, PATIENCE)
                .await
                .map_err(|error| explain(&target, &error))?;
        }
        let link = Arc::new(Self {
            target,
            servers: Mutex::default(),
            current: Mutex::default(),
            up: watch::Sender::new(false),
            broken: Notify::new(),
            emptied: watch::Sender::new(0),
            refusals: Refusals::default(),
            marks: Marks::new(&keys),
        });
        let taken = link.take(conn).await;
        taken.map_err(|error| explain(&link.target, &error))?;
        Ok(link)
    }

    /// Runs `commands` in order, in one round trip, and answers each.
    ///
    /// # Errors
    /// When Redis cannot be reached now: at once, or after [`PATIENCE`].
    pub(super) async fn run(
        &self,
        commands: Vec<Cmd>,
    ) -> Result<Vec<RedisResult<Value>>, PortError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let commands = pipeline(commands);
        let (mut conn, generation) = {
            let current = lock(&self.current);
            let conn = current.conn.clone().ok_or_else(|| current.unavailable())?;
            (conn, current.generation)
        };
        let outcome = tokio::time::timeout(PATIENCE, send(&mut conn, &commands)).await;
        let outcome = outcome.unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()));
        match outcome {
            Ok(answers) => {
                for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                    self.refusals.note(error);
                }
                Ok(answers)
            }
            Err(error) => {
                self.fail(generation, &error);
                Err(PortError::unavailable(error))
            }
        }
    }

    /// Runs `commands` and answers each.
    ///
    /// # Errors
    /// When Redis cannot be reached, or refuses one of them.
    pub(super) async fn ask(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, PortError> {
        let answers = self.run(commands).await?;
        let answers: RedisResult<Vec<Value>> = answers.into_iter().collect();
        answers.map_err(PortError::unavailable)
    }

    /// Whether Redis can be reached, as far as is known.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn check(&self) -> Result<(), PortError> {
        let current = lock(&self.current);
        let there = current.conn.as_ref().map(|_| ());
        there.ok_or_else(|| current.unavailable())
    }

    /// Whether Redis can be reached; changes are heard.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// How often Redis was found empty; changes are heard.
    pub(super) fn emptied(&self) -> watch::Receiver<u64> {
        self.emptied.subscribe()
    }

    /// What Redis refused.
    pub(super) const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// How to connect, by all servers that are known.
    pub(super) fn target(&self) -> Target {
        let mut target = self.target.clone();
        for server in lock(&self.servers).iter() {
            if !target.hosts.contains(server) {
                target.hosts.push(server.clone());
            }
        }
        target
    }

    fn fail(&self, generation: u64, error: &RedisError) {
        let mut current = lock(&self.current);
        if current.generation != generation || current.conn.is_none() {
            return;
        }
        current.conn = None;
        current.problem = Some(error.to_string());
        drop(current);
        self.up.send_replace(false);
        self.broken.notify_one();
        tracing::error!(%error, "Redis cannot be reached; trying again until it can");
    }

    /// Makes a fresh connection the current one, once it has proven itself.
    async fn take(&self, mut conn: Conn) -> RedisResult<()> {
        conn.load_scripts().await?;
        let lost = match self.marks.compare(&mut conn).await {
            Err(error) if is_down(&error) => return Err(error),
            outcome => self.refusals.judge(outcome),
        };
        self.look(&mut conn).await;
        let mut current = lock(&self.current);
        current.conn = Some(conn);
        current.generation += 1;
        current.problem = None;
        drop(current);
        if lost {
            self.note_emptied();
        }
        self.up.send_replace(true);
        Ok(())
    }

    /// Notes where the servers are.
    async fn look(&self, conn: &mut Conn) {
        let tls = self.target.certificates.is_some();
        let Ok(Ok(servers)) = tokio::time::timeout(PATIENCE, conn.nodes()).await else {
            return;
        };
        let servers = servers.into_iter().map(|it| address(it, tls));
        *lock(&self.servers) = servers.collect();
    }

    fn note_emptied(&self) {
        tracing::warn!("Redis lost its content; live state is being rebuilt");
        self.emptied.send_modify(|times| *times += 1);
    }

    /// Tries the quiet connection and brings the broken one back, until `stop`.
    pub(super) async fn supervise(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut beats = 0;
        while !stop.is_cancelled() {
            if self.check().is_ok() {
                beats += 1;
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = self.broken.notified() => {}
                    () = tokio::time::sleep(HEARTBEAT) => {
                        self.beat(beats % BEATS_PER_LOOK == 0).await;
                    }
                }
            } else {
                stop.run_until_cancelled(self.reconnect()).await;
            }
        }
        Ok(())
    }

    async fn beat(&self, look: bool) {
        let (conn, generation) = {
            let current = lock(&self.current);
            (current.conn.clone(), current.generation)
        };
        let Some(mut conn) = conn else { return };
        let marks = tokio::time::timeout(PATIENCE, self.marks.compare(&mut conn)).await;
        match marks {
            Ok(Err(error)) if is_down(&error) => return self.fail(generation, &error),
            Ok(marks) => {
                if self.refusals.judge(marks) {
                    self.note_emptied();
                }
            }
            Err(_) => {
                return self.fail(generation, &(ErrorKind::Io, "no answer in time").into());
            }
        }
        if look {
            self.look(&mut conn).await;
        }
    }

    async fn reconnect(&self) {
        let since = tokio::time::Instant::now();
        let mut backoff = reconnecting();
        loop {
            let opened = Conn::open(&self.target(), None, PATIENCE).await;
            let taken = match opened {
                Ok(conn) => self.take(conn).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(()) => {
                    let away_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(away_ms, "Redis can be reached again");
                    return;
                }
                Err(error) => lock(&self.current).problem = Some(error.to_string()),
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}

/// The waits between attempts to connect.
pub(super) const fn reconnecting() -> Backoff {
    Backoff::between(BACKOFF_MIN, BACKOFF_MAX)
}

/// Runs `commands`; scripts that the server does not know it learns first.
async fn send(conn: &mut Conn, commands: &Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
    let mut answers = conn.send(commands).await?;
    let unknown = |answer: &RedisResult<Value>| {
        let error = answer.as_ref().err();
        error.is_some_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    };
    let again: Vec<usize> = (0..answers.len())
        .filter(|at| unknown(&answers[*at]))
        .collect();
    if !again.is_empty() {
        conn.load_scripts().await?;
        let commands = commands.cmd_iter().zip(&answers);
        let commands = commands.filter(|(_, answer)| unknown(answer));
        let commands = pipeline(commands.map(|(command, _)| command.clone()));
        for (at, answer) in again.into_iter().zip(conn.send(&commands).await?) {
            answers[at] = answer;
        }
    }
    match answers
        .iter()
        .find_map(|it| it.as_ref().err().filter(|error| is_down(error)))
    {
        Some(error) => Err(error.clone()),
        None => Ok(answers),
    }
}
