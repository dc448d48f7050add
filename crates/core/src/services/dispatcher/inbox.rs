//! What waits for the loop's next turn.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use super::request::{CancelError, Cancelled, SendError, SendRequest};
use super::seams::Ack;
use crate::clock::{Instant, Timestamp};
use crate::command::{Batch, Command, SocketReport};
use crate::device::Device;
use crate::event::Origin;
use crate::ids::{CommandId, DeviceKey};
use crate::ports::journal::Receipt;
use crate::ports::{IdempotencyKey, PortError, Remembered};

/// Requests of people and scripts that may wait; one more is told to come back.
const REQUESTS: usize = 4_096;
/// Acks and reports that may wait; one more is dropped and counted, and its
/// command times out unless the device says it again, or the broker does where
/// it waits for an acknowledgement.
const EVIDENCE: usize = 65_536;
/// Requests taken in one turn.
const REQUESTS_PER_TURN: usize = 256;
/// Acks and reports taken in one turn.
const EVIDENCE_PER_TURN: usize = 1_024;

/// What people and scripts want.
pub(super) enum Request {
    Send(Box<SendTicket>),
    Cancel(CancelTicket),
    Wait(CommandId, oneshot::Sender<Option<Arc<Command>>>),
    Batch(BatchTicket),
    /// Nobody shall wait for verdicts any more.
    LetGo,
}

pub(super) struct SendTicket {
    pub(super) request: SendRequest,
    pub(super) device: Arc<Device>,
    pub(super) key: Option<IdempotencyKey>,
    /// What was settled with other nodes; `None` where there is but one.
    pub(super) prepared: Option<Prepared>,
    pub(super) reply: oneshot::Sender<Result<Arc<Command>, NotMade>>,
}

/// A command that passed its rules and whose deadline every node knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared {
    pub(super) id: CommandId,
    pub(super) at: Timestamp,
}

pub(super) struct CancelTicket {
    pub(super) id: CommandId,
    pub(super) by: Origin,
    pub(super) reply: oneshot::Sender<Result<Cancelled, CancelError>>,
}

pub(super) struct BatchTicket {
    pub(super) batch: Arc<Batch>,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) reply: oneshot::Sender<Result<(), NotMade>>,
}

/// Why a request made nothing new.
pub(super) enum NotMade {
    Refused(SendError),
    Remembered(Remembered),
    Failed(Arc<PortError>),
}

/// A verdict, and who waits for what follows from it to be written. Dropped
/// before that, it is not acknowledged, so that it comes again.
pub(super) struct AckTicket {
    pub(super) ack: Ack,
    /// In a lock that nobody ever waits for: receipts may not be shared.
    receipt: Mutex<Option<Box<dyn Receipt>>>,
}

impl AckTicket {
    pub(super) fn new(ack: Ack, receipt: Option<Box<dyn Receipt>>) -> Self {
        Self {
            ack,
            receipt: Mutex::new(receipt),
        }
    }

    /// What follows from it is written.
    pub(super) fn done(mut self) {
        if let Some(receipt) = self.take_receipt() {
            receipt.done();
        }
    }

    fn take_receipt(&mut self) -> Option<Box<dyn Receipt>> {
        let receipt = self.receipt.get_mut();
        receipt.unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for AckTicket {
    fn drop(&mut self) {
        if let Some(receipt) = self.take_receipt() {
            receipt.failed();
        }
    }
}

/// What devices said, and what the broker did.
pub(super) enum Evidence {
    Ack(AckTicket),
    Report {
        device: DeviceKey,
        sockets: SmallVec<[SocketReport; 8]>,
        at: Instant,
    },
    /// A report proved this command before, and it could not be written then.
    Observed(CommandId),
    /// The broker did not take this command.
    NotSent(CommandId, String),
    /// This command moved on another node.
    Moved(CommandId),
    /// Any pending command may have moved on another node.
    Gap,
    /// This command should be final by now.
    Overdue(CommandId),
}

impl Evidence {
    /// The command that must be read from the store before this is judged.
    pub(super) const fn speaks_of(&self) -> Option<CommandId> {
        match self {
            Self::Ack(ticket) => Some(ticket.ack.command),
            Self::Observed(id) | Self::NotSent(id, _) | Self::Moved(id) | Self::Overdue(id) => {
                Some(*id)
            }
            Self::Report { .. } | Self::Gap => None,
        }
    }

    /// The device whose report this is.
    pub(super) const fn reported_device(&self) -> Option<DeviceKey> {
        match self {
            Self::Report { device, .. } => Some(*device),
            Self::Ack(_)
            | Self::Observed(_)
            | Self::NotSent(..)
            | Self::Moved(_)
            | Self::Gap
            | Self::Overdue(_) => None,
        }
    }
}

#[derive(Default)]
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    filled: Notify,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queues {
    requests: VecDeque<Request>,
    evidence: VecDeque<Evidence>,
    closed: bool,
}

impl Inbox {
    /// Queues a request.
    pub(super) fn ask(&self, request: Request) -> Result<(), SendError> {
        let mut queues = self.lock();
        if queues.closed {
            return Err(SendError::Stopping);
        }
        if queues.requests.len() >= REQUESTS {
            return Err(SendError::Overloaded);
        }
        queues.requests.push_back(request);
        drop(queues);
        self.filled.notify_one();
        Ok(())
    }

    /// Queues what a device said.
    pub(super) fn tell(&self, evidence: Evidence) {
        let mut queues = self.lock();
        if queues.closed || queues.evidence.len() >= EVIDENCE {
            drop(queues);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queues.evidence.push_back(evidence);
        drop(queues);
        self.filled.notify_one();
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until something may have come in.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn take_requests(&self) -> Vec<Request> {
        let mut queues = self.lock();
        let count = queues.requests.len().min(REQUESTS_PER_TURN);
        let taken = queues.requests.drain(..count).collect();
        self.remind(&queues);
        taken
    }

    pub(super) fn take_evidence(&self) -> Vec<Evidence> {
        let mut queues = self.lock();
        let count = queues.evidence.len().min(EVIDENCE_PER_TURN);
        let taken = queues.evidence.drain(..count).collect();
        self.remind(&queues);
        taken
    }

    /// Lets go of everything: those who wait hear that we stop.
    pub(super) fn close(&self) {
        let mut queues = self.lock();
        queues.closed = true;
        queues.requests.clear();
        queues.evidence.clear();
    }

    /// What a turn left behind calls for another.
    fn remind(&self, queues: &Queues) {
        if !queues.requests.is_empty() || !queues.evidence.is_empty() {
            self.filled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing panics between two changes, so a poisoned lock holds good data.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
