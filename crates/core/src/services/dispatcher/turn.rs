//! The loop that owns all that changes, one turn at a time.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::DispatcherParts;
use super::batches::RunningBatches;
use super::id_source::IdSource;
use super::inbox::{Evidence, Inbox, NotMade, Request};
use super::pending::Pending;
use super::plan::{Refused, Turn};
use super::request::{CancelError, SendError};
use crate::clock::Instant;
use crate::command::{Command, Rates};
use crate::ids::CommandId;
use crate::ports::PortError;

/// How long to leave a store alone that failed.
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// Deadlines handled in one turn.
pub(super) const DUE_PER_TURN: usize = 1_024;

/// The one owner of pending commands, rates and running batches.
///
/// Its keeper calls [`turn`](Self::turn) whenever [`filled`](Self::filled)
/// returns or [`next_due`](Self::next_due) is reached. A turn must not be
/// abandoned half-way. Dropping the loop tells everybody who waits that the
/// server stops.
pub struct DispatchLoop {
    pub(super) parts: DispatcherParts,
    inbox: Arc<Inbox>,
    pub(super) pending: Pending,
    pub(super) rates: Rates,
    /// How often each device's foreign and orphan acks are told.
    pub(super) odd_acks: Rates,
    pub(super) batches: RunningBatches,
    pub(super) ids: IdSource,
    /// For the next turn: its command was moved in this one, or the store failed.
    pub(super) deferred: Vec<Evidence>,
    /// For the next turn, likewise.
    pub(super) deferred_requests: Vec<Request>,
    /// What this turn moved, for the other nodes.
    pub(super) moved: Vec<CommandId>,
    /// Whether nobody shall wait for verdicts any more.
    pub(super) letting_go: bool,
    /// Set while the store is left alone.
    retry_at: Option<Instant>,
}

impl fmt::Debug for DispatchLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatchLoop")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// What one turn works on.
struct Gathered {
    evidence: Vec<Evidence>,
    requests: Vec<Request>,
    due: Vec<CommandId>,
    batches: bool,
}

impl DispatchLoop {
    pub(super) fn new(parts: DispatcherParts, inbox: Arc<Inbox>) -> Self {
        Self {
            parts,
            inbox,
            pending: Pending::default(),
            rates: Rates::default(),
            odd_acks: Rates::default(),
            batches: RunningBatches::default(),
            ids: IdSource::default(),
            deferred: Vec::new(),
            deferred_requests: Vec::new(),
            moved: Vec::new(),
            letting_go: false,
            retry_at: None,
        }
    }

    /// Takes over what an earlier process left pending, and says how much.
    /// Each command keeps its own deadline; those that passed meanwhile are
    /// due in the first turn, after the acks that wait. Nothing is sent again.
    /// Batch items that had not been sent are refused; among several nodes,
    /// only once their node is known to be gone.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn recover(&mut self) -> Result<usize, PortError> {
        if self.parts.nodes.is_none() {
            let gone = self.parts.store.nodes_with_waiting_items().await?;
            self.parts.store.interrupt_batches(&gone).await?;
        }
        let found = self.parts.store.pending().await?;
        let count = found.len();
        for command in found {
            self.adopt(command);
        }
        Ok(count)
    }

    /// Waits until something may have come in.
    pub async fn filled(&self) {
        self.inbox.filled().await;
    }

    /// When a turn is due even if nothing comes in.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let now = self.parts.clock.instant();
        let left_over = !self.deferred.is_empty() || !self.deferred_requests.is_empty();
        let due = left_over
            .then_some(now)
            .into_iter()
            .chain(self.pending.next_deadline())
            .chain(self.batches.next_ready())
            .min()?;
        Some(self.retry_at.map_or(due, |at| due.max(at)))
    }

    /// How many commands are pending.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Handles what has come in and what is due.
    pub async fn turn(&mut self) {
        let mut turn = Turn::at(self.parts.clock.now(), self.parts.clock.instant());
        let gathered = self.gather(turn.instant);
        let elsewhere = self.look_up_elsewhere(&gathered.evidence).await;
        match (self.look_up(&gathered).await, elsewhere) {
            (Ok(known), Ok(elsewhere)) => {
                turn.known = known;
                turn.elsewhere = elsewhere;
            }
            (Err(error), _) | (_, Err(error)) => {
                return self.give_up(gathered, &Arc::new(error), turn.instant);
            }
        }
        for evidence in gathered.evidence {
            self.plan_evidence(&mut turn, evidence);
        }
        for request in gathered.requests {
            self.plan_request(&mut turn, request);
        }
        for id in gathered.due {
            self.plan_deadline(&mut turn, id);
        }
        if gathered.batches {
            self.plan_batches(&mut turn).await;
        }
        self.carry_out(turn).await;
        self.tell_moved();
    }

    fn gather(&mut self, now: Instant) -> Gathered {
        let mut requests = std::mem::take(&mut self.deferred_requests);
        requests.extend(self.inbox.take_requests());
        let resting = self.retry_at.is_some_and(|at| now < at);
        if resting {
            return Gathered {
                evidence: Vec::new(),
                requests,
                due: Vec::new(),
                batches: false,
            };
        }
        let mut evidence = std::mem::take(&mut self.deferred);
        evidence.extend(self.inbox.take_evidence());
        Gathered {
            evidence,
            requests,
            due: self.pending.due(now, DUE_PER_TURN),
            batches: true,
        }
    }

    /// Reads the commands that are spoken of and not pending here, or may have
    /// moved elsewhere.
    async fn look_up(&self, gathered: &Gathered) -> Result<HashMap<CommandId, Command>, PortError> {
        // What moved elsewhere concerns us where it waits here, the rest where
        // it does not.
        let unclear = |it: &Evidence| {
            let waits_here = matches!(it, Evidence::Moved(_));
            it.speaks_of()
                .filter(|id| self.pending.get(*id).is_some() == waits_here)
        };
        let spoken_of = gathered.evidence.iter().filter_map(unclear);
        let asked = gathered.requests.iter().filter_map(|it| match it {
            Request::Cancel(ticket) => Some(ticket.id),
            Request::Wait(id, _) => Some(*id),
            Request::Send(_) | Request::Batch(_) | Request::LetGo => None,
        });
        let asked = asked.filter(|id| self.pending.get(*id).is_none());
        let mut ids: HashSet<CommandId> = spoken_of.chain(asked).collect();
        if gathered
            .evidence
            .iter()
            .any(|it| matches!(it, Evidence::Gap))
        {
            ids.extend(self.pending.all());
        }
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<CommandId> = ids.into_iter().collect();
        let found = self.parts.store.get(&ids).await?;
        Ok(found.into_iter().map(|it| (it.id, it)).collect())
    }

    async fn carry_out(&mut self, turn: Turn) {
        let writes: Vec<_> = turn.planned.iter().map(|it| it.write()).collect();
        let answers = if writes.is_empty() {
            Ok(Vec::new())
        } else {
            self.parts.store.commit(writes).await
        };
        match answers {
            Ok(answers) => {
                self.retry_at = None;
                for (planned, written) in turn.planned.into_iter().zip(answers) {
                    self.let_out(planned, written);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                self.retry_at = Some(turn.instant + STORE_PAUSE);
                for planned in turn.planned {
                    self.take_back(planned, &error, turn.instant + STORE_PAUSE);
                }
            }
        }
        // Only now: a twin of a refused request may just have been written.
        for refused in turn.refused {
            match refused {
                Refused::Send(reply, error) => {
                    reply.send(Err(NotMade::Refused(error))).ok();
                }
                Refused::Batch(reply, error) => {
                    reply.send(Err(NotMade::Refused(error))).ok();
                }
            }
        }
    }

    /// Puts everything back: the store could not even be read.
    fn give_up(&mut self, gathered: Gathered, error: &Arc<PortError>, now: Instant) {
        self.retry_at = Some(now + STORE_PAUSE);
        self.deferred.extend(gathered.evidence);
        for request in gathered.requests {
            match request {
                Request::Send(ticket) => {
                    let failed = NotMade::Failed(Arc::clone(error));
                    ticket.reply.send(Err(failed)).ok();
                }
                Request::Batch(ticket) => {
                    let failed = NotMade::Failed(Arc::clone(error));
                    ticket.reply.send(Err(failed)).ok();
                }
                Request::Cancel(ticket) => {
                    let failed = SendError::Port(Arc::clone(error));
                    ticket.reply.send(Err(CancelError::Refused(failed))).ok();
                }
                Request::Wait(_, reply) => {
                    reply.send(None).ok();
                }
                Request::LetGo => self.deferred_requests.push(Request::LetGo),
            }
        }
    }
}

impl Drop for DispatchLoop {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
