//! What comes of a turn's writes once they are written.

use std::sync::Arc;
use std::time::Duration;

use super::inbox::{BatchTicket, CancelTicket, Evidence, NotMade};
use super::plan::{Cause, Planned, SendReply};
use super::request::{CancelError, Cancelled, SendError};
use super::seams::{Ack, Change};
use super::turn::DispatchLoop;
use crate::clock::Instant;
use crate::command::{Command, Input};
use crate::ports::{CommandWritten, OutboundCommand, PortError};
use crate::reported::RelayReport;
use crate::wire::AckStatus;

impl DispatchLoop {
    /// Lets the rest of the world know of one write.
    pub(super) fn let_out(&mut self, planned: Planned, written: CommandWritten) {
        match planned {
            Planned::Send {
                command,
                on_pending: _,
                key: _,
                counted_at,
                reply,
            } => self.sent(command, counted_at, reply, written),
            Planned::Settle { command, cause } => self.settled(command, cause, written),
            Planned::Late { command, ticket } => {
                if written == CommandWritten::Done {
                    self.relay_reported(&command, Some(&ticket.ack));
                    self.tell(&Arc::new(command), Change::Late);
                }
                ticket.done();
            }
            Planned::Batch(ticket) => self.batch_taken(ticket, &written),
            Planned::RefuseItem(item, _) => self.batches.answered(item.batch),
        }
    }

    /// Undoes what was planned: the write failed.
    pub(super) fn take_back(&mut self, planned: Planned, error: &Arc<PortError>, at: Instant) {
        match planned {
            Planned::Send {
                command,
                on_pending: _,
                key: _,
                counted_at,
                reply,
            } => {
                self.rates.give_back(command.device, counted_at);
                if let Some(item) = command.batch {
                    self.batches.put_back(item, at);
                }
                refuse(reply, NotMade::Failed(Arc::clone(error)));
            }
            Planned::Settle { command, cause } => match cause {
                Cause::Ack(ticket) => self.deferred.push(Evidence::Ack(ticket)),
                Cause::Observed => self.deferred.push(Evidence::Observed(command.id)),
                Cause::NotSent(why) => self.deferred.push(Evidence::NotSent(command.id, why)),
                Cause::Overdue => self.deferred.push(Evidence::Overdue(command.id)),
                // Its deadline is still armed.
                Cause::Deadline => {}
                Cause::Cancel(ticket) => {
                    let failed = SendError::Port(Arc::clone(error));
                    ticket.reply.send(Err(CancelError::Refused(failed))).ok();
                }
            },
            Planned::Late { command: _, ticket } => self.deferred.push(Evidence::Ack(ticket)),
            Planned::Batch(ticket) => {
                let failed = NotMade::Failed(Arc::clone(error));
                ticket.reply.send(Err(failed)).ok();
            }
            Planned::RefuseItem(item, _) => self.batches.put_back(item, at),
        }
    }

    /// Takes over a command that the store holds pending and we did not know.
    pub(super) fn adopt(&mut self, command: Command) {
        if self.pending.get(command.id).is_some() {
            return;
        }
        let now = self.parts.clock.instant();
        // At most its whole time-out, however the wall clock jumped meanwhile.
        let left = command.deadline_at.since(self.parts.clock.now());
        let left = left.min(timeout(&command));
        let deadline = now + left + self.patience();
        self.pending.add(Arc::new(command), now, deadline);
    }

    fn sent(
        &mut self,
        command: Arc<Command>,
        counted_at: Instant,
        reply: Option<SendReply>,
        written: CommandWritten,
    ) {
        let not_made = match written {
            CommandWritten::Done => return self.publish(command, reply),
            CommandWritten::Replaced(replaced) => {
                for old in replaced {
                    self.finished(&Arc::new(old), Change::Settled);
                }
                return self.publish(command, reply);
            }
            CommandWritten::Busy(pending) => {
                for other in &pending {
                    self.adopt(other.clone());
                }
                NotMade::Refused(SendError::Pending(pending))
            }
            CommandWritten::Remembered(found) => NotMade::Remembered(found),
            CommandWritten::Unchanged(_) => {
                let error = PortError::Corrupt("an insert was answered as an update".to_owned());
                NotMade::Failed(Arc::new(error))
            }
        };
        self.rates.give_back(command.device, counted_at);
        if let Some(item) = command.batch {
            self.batches.answered(item.batch);
        }
        refuse(reply, not_made);
    }

    fn publish(&mut self, command: Arc<Command>, reply: Option<SendReply>) {
        let (now, instant) = (self.parts.clock.now(), self.parts.clock.instant());
        let mut command = Arc::unwrap_or_clone(command);
        command.progress.apply(Input::Published, now);
        let command = Arc::new(command);
        let timeout = timeout(&command);
        // Before the publish: its ack may be here before the call returns.
        self.pending
            .add(Arc::clone(&command), instant, instant + timeout);
        let published = self.parts.sink.publish(&OutboundCommand {
            device: command.device,
            body: command.body(now),
            ttl: command.time_to_live(),
            timeout,
        });
        if let Err(why) = published {
            self.deferred.push(Evidence::NotSent(command.id, why.0));
        }
        self.tell(&command, Change::Sent);
        if let Some(reply) = reply {
            reply.send(Ok(command)).ok();
        }
    }

    fn settled(&mut self, command: Command, cause: Cause, written: CommandWritten) {
        match written {
            CommandWritten::Unchanged(current) => return self.overtaken(&command, cause, current),
            CommandWritten::Done
            | CommandWritten::Replaced(_)
            | CommandWritten::Busy(_)
            | CommandWritten::Remembered(_) => {}
        }
        let command = Arc::new(command);
        match cause {
            Cause::Ack(ticket) => {
                self.relay_reported(&command, Some(&ticket.ack));
                self.finished(&command, Change::Settled);
                ticket.done();
            }
            Cause::Observed => {
                self.relay_reported(&command, None);
                self.finished(&command, Change::Settled);
            }
            Cause::Deadline | Cause::Overdue | Cause::NotSent(_) => {
                self.finished(&command, Change::Settled);
            }
            Cause::Cancel(CancelTicket { by, reply, .. }) => {
                self.finished(&command, Change::Cancelled(&by));
                reply.send(Ok(Cancelled::Now(command))).ok();
            }
        }
    }

    /// Somebody else moved the command first.
    fn overtaken(&mut self, planned: &Command, cause: Cause, current: Option<Box<Command>>) {
        let current = current.map(|it| Arc::new(*it));
        match &current {
            Some(current) => self.settled_elsewhere(current),
            None => self.forget(planned, None),
        }
        match cause {
            // Against the final command it is a late one.
            Cause::Ack(ticket) => self.deferred.push(Evidence::Ack(ticket)),
            Cause::Cancel(ticket) => {
                let unknown = CancelError::Unknown(planned.id);
                let answer = current.map(Cancelled::AlreadyFinal).ok_or(unknown);
                ticket.reply.send(answer).ok();
            }
            Cause::Observed | Cause::Deadline | Cause::Overdue | Cause::NotSent(_) => {}
        }
    }

    fn finished(&mut self, command: &Arc<Command>, change: Change<'_>) {
        self.tell(command, change);
        self.forget(command, Some(command));
    }

    /// Takes a command off the index; those who waited hear what became of it.
    pub(super) fn forget(&mut self, command: &Command, became: Option<&Arc<Command>>) {
        if self.pending.get(command.id).is_none() {
            return;
        }
        for waiter in self.pending.remove(command.id) {
            waiter.send(became.cloned()).ok();
        }
        if let Some(item) = command.batch {
            self.batches.answered(item.batch);
        }
    }

    fn relay_reported(&self, command: &Command, ack: Option<&Ack>) {
        let ends_on = command.order.ends_on();
        let on = match ack {
            None => Some(ends_on),
            Some(ack) => ack
                .on
                .or_else(|| (ack.status == AckStatus::Success).then_some(ends_on)),
        };
        let Some(on) = on else { return };
        let sent_at = command.progress.published_at.unwrap_or(command.created_at);
        let heard_at = ack.map(|it| it.received_at);
        self.parts.fleet.relay_reported(RelayReport {
            device: command.device,
            socket: command.socket,
            on,
            origin: command.origin.clone(),
            since: sent_at,
            at: heard_at.unwrap_or_else(|| self.parts.clock.now()),
            boot: ack.and_then(|it| it.boot),
            seq: ack.and_then(|it| it.seq),
        });
    }

    fn batch_taken(&mut self, ticket: BatchTicket, written: &CommandWritten) {
        let answer = match written {
            CommandWritten::Remembered(found) => Err(NotMade::Remembered(*found)),
            CommandWritten::Done
            | CommandWritten::Replaced(_)
            | CommandWritten::Busy(_)
            | CommandWritten::Unchanged(_) => {
                self.parts.outlet.batch(&ticket.batch);
                self.batches.start(ticket.batch, self.parts.clock.instant());
                Ok(())
            }
        };
        ticket.reply.send(answer).ok();
    }

    fn tell(&mut self, command: &Arc<Command>, change: Change<'_>) {
        self.note_moved(command);
        self.parts.outlet.command(command, change);
    }
}

fn timeout(command: &Command) -> Duration {
    Duration::from_millis(u64::from(command.order.timeout_ms))
}

fn refuse(reply: Option<SendReply>, not_made: NotMade) {
    if let Some(reply) = reply {
        reply.send(Err(not_made)).ok();
    }
}
