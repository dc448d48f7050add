//! The way in: decode, recognise repeats, give a time, append to the journal,
//! and tell those who live off it at once.
//!
//! Called from the broker's connection tasks, in order for each connection;
//! never waits and never fails: a message is acknowledged when it is durable,
//! refused with its reason counted, or left unacknowledged when the journal
//! has no room.

mod inbox;
mod reception;
mod stamp;
mod take;
mod tally;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

pub(crate) use inbox::Inbox;
pub(crate) use reception::{Decoded, Reception};
pub(crate) use tally::bump;

pub use tally::{LastRefusal, Refusals, Totals};

use crate::clock::Timestamp;
use crate::decode::{Ack, Reason, Status};
use crate::ids::DeviceKey;
use crate::ports::hot::HotState;
use crate::ports::journal::{Journal, Receipt};
use crate::record::EventRecord;
use crate::sample::Sample;
use crate::topic::Channel;

/// A message from a device.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// From whom.
    pub device: DeviceKey,
    /// On which of its topics.
    pub channel: Channel,
    /// The body.
    pub payload: &'a [u8],
    /// Whether this is a replay of a retained message, which is no sign of life.
    pub retained: bool,
    /// Whether this is the will of a session that ended.
    pub will: bool,
    /// When it was read from the socket.
    pub received_at: Timestamp,
}

/// Those who live off the way in. Called at once, on the connection's task, in
/// order for each connection: implementations neither wait nor call back.
pub trait Downstream: Send + Sync + 'static {
    /// A sign of life, stamped when it was read from the socket.
    fn seen(&self, device: DeviceKey, at: Timestamp);

    /// New samples; those recognised as repeats are not among them.
    fn samples(&self, device: DeviceKey, samples: &[Sample]);

    /// A report newer than every one before it; a farewell where not online.
    fn status(&self, device: DeviceKey, status: &Status, at: Timestamp);

    /// The replay of a retained report newer than every one before it: it
    /// restores what was reported and says nothing about who is there.
    fn restored(&self, device: DeviceKey, status: &Status, at: Timestamp);

    /// A will; whether it counts is decided by its (boot, conn).
    fn will(&self, device: DeviceKey, will: &Status, at: Timestamp);

    /// A verdict on a command. `receipt`, where there is one, is resolved once
    /// what follows from the verdict is written; without one the verdict is
    /// kept already, or nobody waits.
    fn ack(&self, device: DeviceKey, ack: &Ack, at: Timestamp, receipt: Option<Box<dyn Receipt>>);

    /// Something that happened, not heard before.
    fn event(&self, device: DeviceKey, event: &EventRecord, at: Timestamp);
}

/// Nobody lives off it.
impl Downstream for () {
    fn seen(&self, _: DeviceKey, _: Timestamp) {}
    fn samples(&self, _: DeviceKey, _: &[Sample]) {}
    fn status(&self, _: DeviceKey, _: &Status, _: Timestamp) {}
    fn restored(&self, _: DeviceKey, _: &Status, _: Timestamp) {}
    fn will(&self, _: DeviceKey, _: &Status, _: Timestamp) {}
    fn ack(&self, _: DeviceKey, _: &Ack, _: Timestamp, _: Option<Box<dyn Receipt>>) {}
    fn event(&self, _: DeviceKey, _: &EventRecord, _: Timestamp) {}
}

/// The way in to a journal.
pub struct Ingest {
    reception: Reception<Inbox>,
    journal: Arc<dyn Journal>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}

impl Ingest {
    /// The way in to `journal`.
    #[must_use]
    pub fn new(
        journal: Arc<dyn Journal>,
        hot: Arc<dyn HotState>,
        downstream: Arc<dyn Downstream>,
    ) -> Self {
        Self {
            reception: Reception::new(hot, downstream),
            journal,
        }
    }

    /// What was refused of `device` since the start; `None` where nothing was.
    #[must_use]
    pub fn refusals(&self, device: DeviceKey) -> Option<Refusals> {
        self.reception.refusals(device)
    }

    /// Refuses whatever still comes from `device`, or takes it again.
    pub fn set_revoked(&self, device: DeviceKey, revoked: bool) {
        self.reception.set_revoked(device, revoked);
    }

    /// What came in since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.reception.totals()
    }

    /// What was refused since the start, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.reception.refused()
    }

    /// Takes up what an earlier process remembered of `device`.
    pub(crate) fn restore(&self, device: DeviceKey, inbox: Inbox) {
        self.reception.shard(device).seat(device).memory = inbox;
    }
}
