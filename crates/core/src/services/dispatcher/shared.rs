//! Commands among several nodes: what is asked of the shared index, and what
//! is done about commands that another node sent.
//!
//! The store decides, whoever asks it: a verdict counts on the node whose
//! write came first. A node keeps the exact time of its own commands; for the
//! others it stands in where their node is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::door::Dispatcher;
use super::inbox::{Evidence, Prepared};
use super::plan::Turn;
use super::request::{SendError, SendRequest};
use super::seams::Change;
use super::turn::DispatchLoop;
use crate::clock::{Instant, Timestamp};
use crate::command::{Command, Input, SocketReport, shows_success};
use crate::device::Device;
use crate::ids::{CommandId, DeviceKey};
use crate::memory::lock;
use crate::ports::PortError;
use crate::ports::nodes::{CommandIndex, Exchange, NodeId};
use crate::services::nodes::Hint;

/// How long after its deadline a command is anybody's to settle: its own node
/// would have done it by then.
const OVERDUE: Duration = Duration::from_millis(500);
/// How far the clocks of two nodes may be apart.
const CLOCKS_APART: Duration = Duration::from_millis(500);
/// How long after its deadline a command that the index has lost is settled.
const FORGOTTEN: Duration = Duration::from_secs(1);
/// Overdue commands taken from the index at a time.
const CLAIM: usize = 256;
/// Commands named by one hint.
const HINTED: usize = 256;

/// What the dispatchers of several nodes share beside the store.
#[derive(Clone)]
pub struct CommandNodes {
    /// Which node this is.
    pub node: NodeId,
    /// Rates and deadlines.
    pub index: Arc<dyn CommandIndex>,
    /// How nodes hear of each other's verdicts.
    pub exchange: Arc<dyn Exchange>,
}

impl std::fmt::Debug for CommandNodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandNodes")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// The offline rule and the rate limit, and a deadline that outlives this
    /// node, before the command is asked for.
    pub(super) async fn prepare(
        &self,
        nodes: &CommandNodes,
        request: &SendRequest,
        device: &Device,
    ) -> Result<Prepared, SendError> {
        if !request.send_offline && !self.fleet.is_online(device.key) {
            return Err(SendError::DeviceOffline(device.id.clone()));
        }
        let admitted = nodes.index.admit(&[device.key]).await;
        match admitted.map_err(SendError::hot_state)?.pop() {
            Some(Ok(())) => {}
            Some(Err(retry_after)) => return Err(SendError::RateLimited { retry_after }),
            None => {
                let error = PortError::Corrupt("the index answered nothing".to_owned());
                return Err(SendError::hot_state(error));
            }
        }
        let at = self.clock.now();
        let id = lock(&self.ids).next(at);
        let deadline = at + Duration::from_millis(u64::from(request.order.timeout_ms));
        let armed = nodes.index.arm(&[(id, deadline)]).await;
        armed.map_err(SendError::hot_state)?;
        Ok(Prepared { id, at })
    }

    /// These commands moved on another node.
    pub fn on_moved(&self, commands: Vec<CommandId>) {
        for id in commands {
            self.inbox.tell(Evidence::Moved(id));
        }
    }

    /// Hints were lost: every pending command may have moved elsewhere.
    pub fn on_gap(&self) {
        self.inbox.tell(Evidence::Gap);
    }

    /// Takes over commands whose node should have settled them by now. Call it
    /// every quarter of a second on every node.
    ///
    /// # Errors
    /// When the index does not answer.
    pub async fn claim_overdue(&self) -> Result<(), PortError> {
        let Some(nodes) = &self.nodes else {
            return Ok(());
        };
        loop {
            let before = self.clock.now() - OVERDUE;
            let claimed = nodes.index.claim(before, CLAIM).await?;
            let count = claimed.len();
            for id in claimed {
                self.inbox.tell(Evidence::Overdue(id));
            }
            if count < CLAIM {
                return Ok(());
            }
        }
    }

    /// Arms and shows every pending command again: the index came back empty.
    /// Any number of nodes may do so; a deadline that passed is harmless.
    ///
    /// # Errors
    /// When the store or the index does not answer.
    pub async fn refill_index(&self) -> Result<(), PortError> {
        let Some(nodes) = &self.nodes else {
            return Ok(());
        };
        let pending = self.store.pending().await?;
        let deadlines: Vec<_> = pending.iter().map(|it| (it.id, it.deadline_at)).collect();
        nodes.index.arm(&deadlines).await?;
        for command in &pending {
            nodes.index.show(command);
        }
        Ok(())
    }

    /// Takes over overdue commands that the index knows nothing of. Call it
    /// every few seconds on one node.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn sweep_overdue(&self) -> Result<(), PortError> {
        let before = self.clock.now() - FORGOTTEN;
        for command in self.store.pending().await? {
            if command.deadline_at < before {
                self.inbox.tell(Evidence::Overdue(command.id));
            }
        }
        Ok(())
    }

    /// The nodes whose batches have items that wait.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn nodes_with_waiting_items(&self) -> Result<Vec<NodeId>, PortError> {
        self.store.nodes_with_waiting_items().await
    }

    /// Refuses what `nodes`, which are gone, left waiting; returns how much.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn interrupt_batches(&self, nodes: &[NodeId]) -> Result<usize, PortError> {
        self.store.interrupt_batches(nodes).await
    }
}

impl DispatchLoop {
    /// Reads the pending commands of other nodes that these reports may prove.
    pub(super) async fn look_up_elsewhere(
        &self,
        evidence: &[Evidence],
    ) -> Result<HashMap<DeviceKey, Vec<Command>>, PortError> {
        let mut elsewhere: HashMap<DeviceKey, Vec<Command>> = HashMap::new();
        if self.parts.nodes.is_none() {
            return Ok(elsewhere);
        }
        let reported = evidence.iter().filter_map(Evidence::reported_device);
        let devices: HashSet<DeviceKey> = reported.collect();
        if devices.is_empty() {
            return Ok(elsewhere);
        }
        let devices: Vec<DeviceKey> = devices.into_iter().collect();
        for command in self.parts.store.pending_of(&devices).await? {
            if self.pending.get(command.id).is_none() {
                elsewhere.entry(command.device).or_default().push(command);
            }
        }
        Ok(elsewhere)
    }

    /// Settles what a report proves of commands that other nodes sent. When
    /// they were published is known by those nodes' clocks only.
    pub(super) fn plan_report_elsewhere(
        turn: &mut Turn,
        device: DeviceKey,
        sockets: &[SocketReport],
        at: Instant,
    ) {
        let heard = turn.now - turn.instant.since(at);
        for command in turn.elsewhere.remove(&device).unwrap_or_default() {
            let after = heard >= command.created_at;
            let since = heard.since(command.created_at).saturating_sub(CLOCKS_APART);
            if after && !turn.is_touched(command.id) && shows_success(&command, sockets, since) {
                turn.observe(command);
            } else {
                turn.elsewhere.entry(device).or_default().push(command);
            }
        }
    }

    /// A command that should be final by now.
    pub(super) fn plan_overdue(&self, turn: &mut Turn, id: CommandId) {
        // One's own deadline is exact, and still to come.
        if self.pending.get(id).is_none() {
            let cause = super::plan::Cause::Overdue;
            self.plan_settle(turn, id, Input::DeadlinePassed, cause);
        }
    }

    /// A command that waits here became final on another node.
    pub(super) fn plan_moved(&mut self, turn: &Turn, id: CommandId) {
        if self.pending.get(id).is_none() || turn.is_touched(id) {
            return;
        }
        if let Some(stored) = turn.known.get(&id).filter(|it| !it.is_pending()) {
            self.settled_elsewhere(&Arc::new(stored.clone()));
        }
    }

    /// Forgets a command that waits here and is final in the store.
    pub(super) fn settled_elsewhere(&mut self, command: &Arc<Command>) {
        if self.pending.get(command.id).is_some() {
            self.parts.outlet.command(command, Change::Elsewhere);
            self.forget(command, Some(command));
        }
    }

    /// Notes a change of a command for the index and the other nodes.
    pub(super) fn note_moved(&mut self, command: &Command) {
        let Some(nodes) = &self.parts.nodes else {
            return;
        };
        nodes.index.show(command);
        if !command.is_pending() {
            self.moved.push(command.id);
        }
    }

    /// Tells the other nodes of what this turn moved.
    pub(super) fn tell_moved(&mut self) {
        let moved = std::mem::take(&mut self.moved);
        let Some(nodes) = &self.parts.nodes else {
            return;
        };
        for commands in moved.chunks(HINTED) {
            let commands = commands.to_vec();
            if let Some(hint) = (Hint::Moved { commands }).encode() {
                nodes.exchange.hint(hint);
            }
        }
    }

    /// Until when a command of another node is left to it.
    pub(super) fn patience(&self) -> Duration {
        match self.parts.nodes {
            Some(_) => OVERDUE,
            None => Duration::ZERO,
        }
    }

    /// Takes one command's worth of each device's rate.
    pub(super) async fn admit_all(
        &self,
        nodes: &CommandNodes,
        devices: &[DeviceKey],
    ) -> Result<Vec<Result<(), Duration>>, PortError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        if !nodes.exchange.connected() {
            return Err(PortError::unavailable("the hot state does not answer"));
        }
        nodes.index.admit(devices).await
    }

    /// Arms commands that are about to be written.
    pub(super) async fn arm_all(
        &self,
        nodes: &CommandNodes,
        commands: &[Arc<Command>],
    ) -> Result<(), PortError> {
        let deadline = |it: &Arc<Command>| (it.id, it.deadline_at);
        let deadlines: Vec<(CommandId, Timestamp)> = commands.iter().map(deadline).collect();
        if deadlines.is_empty() {
            return Ok(());
        }
        nodes.index.arm(&deadlines).await
    }
}
