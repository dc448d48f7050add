//! What a turn is going to write, decided by the rules.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;

use super::draft::Draft;
use super::inbox::{AckTicket, BatchTicket, CancelTicket, Evidence, NotMade, Request, SendTicket};
use super::request::{CancelError, Cancelled, SendError};
use super::seams::Ack;
use super::turn::DispatchLoop;
use crate::clock::{Instant, Timestamp};
use crate::command::{
    BatchItem, Cancellation, Command, Input, OnPending, Refusal, Step, shows_success,
};
use crate::event::{Event, EventType, Origin, Severity};
use crate::ids::{CommandId, DeviceKey, EventId, SocketId, uuid_v7};
use crate::ports::{CommandWrite, IdempotencyKey};

pub(super) type SendReply = oneshot::Sender<Result<Arc<Command>, NotMade>>;

/// One turn's work.
pub(super) struct Turn {
    pub(super) now: Timestamp,
    pub(super) instant: Instant,
    /// Commands that are spoken of and not pending here.
    pub(super) known: HashMap<CommandId, Command>,
    /// Pending commands of other nodes, by the devices that reported.
    pub(super) elsewhere: HashMap<DeviceKey, Vec<Command>>,
    pub(super) planned: Vec<Planned>,
    /// Commands that this turn moves: at most once each.
    touched: HashSet<CommandId>,
    pub(super) refused: Vec<Refused>,
}

/// Who hears that nothing is made of it.
pub(super) enum Refused {
    Send(SendReply, SendError),
    Batch(oneshot::Sender<Result<(), NotMade>>, SendError),
}

/// One write, and what is to come of it.
pub(super) enum Planned {
    Send {
        command: Arc<Command>,
        on_pending: OnPending,
        key: Option<IdempotencyKey>,
        /// When it was counted against the device's rate.
        counted_at: Instant,
        /// `None` for a batch item.
        reply: Option<SendReply>,
    },
    Settle {
        /// The command with its new progress.
        command: Command,
        cause: Cause,
    },
    Late {
        /// The command with its new progress.
        command: Command,
        ticket: AckTicket,
    },
    Batch(BatchTicket),
    RefuseItem(BatchItem, Refusal),
}

/// Why a command becomes final.
pub(super) enum Cause {
    Ack(AckTicket),
    Observed,
    Deadline,
    /// Its node should have settled it, and has not.
    Overdue,
    NotSent(String),
    Cancel(CancelTicket),
}

impl Turn {
    pub(super) fn at(now: Timestamp, instant: Instant) -> Self {
        Self {
            now,
            instant,
            known: HashMap::new(),
            elsewhere: HashMap::new(),
            planned: Vec::new(),
            touched: HashSet::new(),
            refused: Vec::new(),
        }
    }

    pub(super) fn is_touched(&self, id: CommandId) -> bool {
        self.touched.contains(&id)
    }

    /// Settles a command of another node that a report proves.
    pub(super) fn observe(&mut self, mut command: Command) {
        took_off(&mut command);
        self.settle(command, Input::Observed, self.now, Cause::Observed);
    }

    fn settle(&mut self, mut command: Command, input: Input, at: Timestamp, cause: Cause) {
        if command.progress.apply(input, at) == Step::Settled {
            self.touched.insert(command.id);
            self.planned.push(Planned::Settle { command, cause });
        }
    }
}

/// A device that answers was sent the command: when exactly, its node knows.
fn took_off(command: &mut Command) {
    command.progress.apply(Input::Published, command.created_at);
}

impl Planned {
    pub(super) fn write(&self) -> CommandWrite {
        match self {
            Self::Send {
                command,
                on_pending,
                key,
                counted_at: _,
                reply: _,
            } => CommandWrite::Insert {
                command: Arc::clone(command),
                on_pending: *on_pending,
                key: key.clone(),
            },
            Self::Settle { command, cause: _ } => CommandWrite::Settle {
                id: command.id,
                progress: command.progress.clone(),
            },
            Self::Late { command, ticket } => CommandWrite::NoteLate {
                id: command.id,
                late: command.progress.late.unwrap_or(crate::command::Late {
                    outcome: ticket.ack.status,
                    at: ticket.ack.received_at,
                }),
            },
            Self::Batch(ticket) => CommandWrite::CreateBatch {
                batch: Arc::clone(&ticket.batch),
                key: ticket.key.clone(),
            },
            Self::RefuseItem(item, refusal) => CommandWrite::RefuseItem {
                item: *item,
                refusal: *refusal,
            },
        }
    }
}

impl DispatchLoop {
    pub(super) fn plan_evidence(&mut self, turn: &mut Turn, evidence: Evidence) {
        match evidence {
            Evidence::Ack(ticket) => self.plan_ack(turn, ticket),
            Evidence::Report {
                device,
                sockets,
                at,
            } => {
                for entry in self.pending.of_device(device) {
                    let untouched = !turn.touched.contains(&entry.command.id);
                    let since = at.since(entry.published);
                    let after = at >= entry.published;
                    if untouched && after && shows_success(&entry.command, &sockets, since) {
                        let command = (*entry.command).clone();
                        turn.settle(command, Input::Observed, turn.now, Cause::Observed);
                    }
                }
                Self::plan_report_elsewhere(turn, device, &sockets, at);
            }
            Evidence::Observed(id) => {
                self.plan_settle(turn, id, Input::Observed, Cause::Observed);
            }
            Evidence::NotSent(id, why) => {
                self.plan_settle(turn, id, Input::NotSent(why.clone()), Cause::NotSent(why));
            }
            Evidence::Moved(id) => self.plan_moved(turn, id),
            Evidence::Gap => {
                let pending: Vec<CommandId> = self.pending.all().collect();
                for id in pending {
                    self.plan_moved(turn, id);
                }
            }
            Evidence::Overdue(id) => self.plan_overdue(turn, id),
        }
    }

    pub(super) fn plan_deadline(&self, turn: &mut Turn, id: CommandId) {
        self.plan_settle(turn, id, Input::DeadlinePassed, Cause::Deadline);
    }

    pub(super) fn plan_settle(&self, turn: &mut Turn, id: CommandId, input: Input, cause: Cause) {
        let pending = self.pending.get(id).map(|entry| &*entry.command);
        let command = pending.or_else(|| turn.known.get(&id)).cloned();
        if let Some(command) = command.filter(Command::is_pending)
            && !turn.touched.contains(&id)
        {
            turn.settle(command, input, turn.now, cause);
        }
    }

    fn plan_ack(&mut self, turn: &mut Turn, ticket: AckTicket) {
        let ack = &ticket.ack;
        let id = ack.command;
        if turn.touched.contains(&id) {
            self.deferred.push(Evidence::Ack(ticket));
            return;
        }
        let pending = self.pending.get(id).map(|entry| &*entry.command);
        let Some(command) = pending.or_else(|| turn.known.get(&id)) else {
            self.report_odd_ack(turn, ack, EventType::OrphanAck, Severity::Warning);
            return ticket.done();
        };
        if command.device != ack.device {
            self.report_odd_ack(turn, ack, EventType::ForeignAck, Severity::Critical);
            return ticket.done();
        }
        let mut command = command.clone();
        took_off(&mut command);
        let input = Input::Acked(ack.status, ack.reason.clone());
        match command.progress.apply(input, ack.received_at) {
            Step::Settled => {
                turn.touched.insert(id);
                let cause = Cause::Ack(ticket);
                turn.planned.push(Planned::Settle { command, cause });
            }
            Step::Noted => {
                turn.touched.insert(id);
                turn.planned.push(Planned::Late { command, ticket });
            }
            Step::Ignored => ticket.done(),
        }
    }

    /// Tells of an ack that is nobody's or somebody else's; a device that
    /// sends many is not heard more often than it may be commanded.
    fn report_odd_ack(&mut self, turn: &Turn, ack: &Ack, kind: EventType, severity: Severity) {
        if self.odd_acks.take(ack.device, turn.instant).is_err() {
            return;
        }
        self.parts.outlet.event(Event {
            id: EventId(uuid_v7(turn.now)),
            device: Some((ack.device, ack.device_id.clone())),
            socket: Some(SocketId::STRIP),
            kind,
            severity,
            ts: ack.received_at,
            received_at: ack.received_at,
            origin: Origin::Device,
            data: json!({"cmdId": ack.command, "status": ack.status, "on": ack.on}),
        });
    }

    pub(super) fn plan_request(&mut self, turn: &mut Turn, request: Request) {
        match request {
            Request::Send(ticket) => self.plan_send(turn, *ticket),
            Request::Cancel(ticket) => self.plan_cancel(turn, ticket),
            Request::LetGo => {
                self.letting_go = true;
                self.pending.let_go();
            }
            Request::Wait(_, reply) if self.letting_go => {
                reply.send(None).ok();
            }
            Request::Wait(id, reply) => {
                // One that another node sent waits here from now on, too.
                if let Some(command) = turn.known.get(&id).filter(|it| it.is_pending()) {
                    self.adopt(command.clone());
                }
                if let Some(reply) = self.pending.wait(id, reply) {
                    let known = turn.known.get(&id).cloned().map(Arc::new);
                    reply.send(known).ok();
                }
            }
            Request::Batch(ticket) if self.batches.is_full() => {
                let refused = Refused::Batch(ticket.reply, SendError::Overloaded);
                turn.refused.push(refused);
            }
            Request::Batch(ticket) => turn.planned.push(Planned::Batch(ticket)),
        }
    }

    fn plan_cancel(&mut self, turn: &mut Turn, ticket: CancelTicket) {
        if turn.touched.contains(&ticket.id) {
            self.deferred_requests.push(Request::Cancel(ticket));
            return;
        }
        let pending = self.pending.get(ticket.id).map(|entry| &*entry.command);
        let Some(command) = pending.or_else(|| turn.known.get(&ticket.id)) else {
            let unknown = CancelError::Unknown(ticket.id);
            ticket.reply.send(Err(unknown)).ok();
            return;
        };
        if command.is_pending() {
            let input = Input::Cancelled(Cancellation::Asked);
            turn.settle(command.clone(), input, turn.now, Cause::Cancel(ticket));
        } else {
            let command = Arc::new(command.clone());
            ticket.reply.send(Ok(Cancelled::AlreadyFinal(command))).ok();
        }
    }

    fn plan_send(&mut self, turn: &mut Turn, ticket: SendTicket) {
        let SendTicket {
            request,
            device,
            key,
            prepared,
            reply,
        } = ticket;
        if prepared.is_none()
            && let Err(refusal) = self.admit(turn.instant, &device, request.send_offline)
        {
            turn.refused.push(Refused::Send(reply, refusal));
            return;
        }
        let draft = Draft {
            device: device.key,
            device_id: device.id.clone(),
            socket: request.socket,
            order: request.order,
            origin: request.origin,
            batch: None,
        };
        turn.planned.push(Planned::Send {
            command: self.write_up(turn.now, draft, prepared),
            on_pending: request.on_pending,
            key,
            counted_at: turn.instant,
            reply: Some(reply),
        });
    }
}
