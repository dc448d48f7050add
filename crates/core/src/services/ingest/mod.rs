//! The way in: decode, recognise repeats, give a time, append to the journal,
//! and tell those who live off it at once.
//!
//! Called from the broker's connection tasks, in order for each connection;
//! never waits and never fails: a message is acknowledged when it is durable,
//! refused with its reason counted, or left unacknowledged when the journal
//! has no room.

mod inbox;
mod stamp;
mod take;
mod tally;
#[cfg(test)]
mod tests;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use inbox::Inbox;
pub use tally::{LastRefusal, Refusals, Totals};

use tally::{Tally, bump};

use crate::clock::Timestamp;
use crate::decode::{Ack, Reason, Refusal, Status};
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

/// Locks over the devices' inboxes; a power of two.
const SHARDS: usize = 64;

/// The way in.
pub struct Ingest {
    shards: Box<[Mutex<Shard>]>,
    journal: Arc<dyn Journal>,
    hot: Arc<dyn HotState>,
    downstream: Arc<dyn Downstream>,
    tally: Tally,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}

/// The devices whose keys fall on one lock, by key / [`SHARDS`].
#[derive(Debug, Default)]
struct Shard {
    seats: Vec<Option<Box<Seat>>>,
}

#[derive(Debug, Default)]
struct Seat {
    inbox: Inbox,
    refusals: Option<Box<Refusals>>,
    /// Whatever still comes from this device is refused.
    revoked: bool,
}

impl Shard {
    fn seat(&mut self, device: DeviceKey) -> &mut Seat {
        let index = device.0 as usize / SHARDS;
        if index >= self.seats.len() {
            self.seats.resize_with(index + 1, || None);
        }
        self.seats[index].get_or_insert_default()
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
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            journal,
            hot,
            downstream,
            tally: Tally::default(),
        }
    }

    /// Takes one message. `receipt` is there where the sender waits for an
    /// acknowledgement.
    pub fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        bump(&self.tally.messages, 1);
        match message.channel {
            Channel::Telemetry => self.telemetry(message, receipt),
            Channel::Status => self.status(message, receipt),
            Channel::Ack => self.ack(message, receipt),
            Channel::Event => self.event(message, receipt),
            Channel::Cmd | Channel::Enrol => {
                self.refuse(message, &Refusal::not_for_devices(), receipt);
            }
        }
    }

    fn refuse(&self, message: &Inbound<'_>, refusal: &Refusal, receipt: Option<Box<dyn Receipt>>) {
        self.tally.refuse(refusal.reason);
        {
            let mut shard = self.shard(message.device);
            let seat = shard.seat(message.device);
            let last = LastRefusal {
                refusal: refusal.clone(),
                channel: message.channel,
                at: message.received_at,
            };
            match &mut seat.refusals {
                Some(refusals) => refusals.add(last),
                None => seat.refusals = Some(Box::new(Refusals::first(last))),
            }
        }
        if let Some(receipt) = receipt {
            receipt.refuse(refusal.reason.name());
        }
    }

    /// What was refused of `device` since the start; `None` where nothing was.
    #[must_use]
    pub fn refusals(&self, device: DeviceKey) -> Option<Refusals> {
        let shard = self.shard(device);
        let seat = shard.seats.get(device.0 as usize / SHARDS)?.as_ref()?;
        seat.refusals.as_deref().cloned()
    }

    /// Refuses whatever still comes from `device`, or takes it again.
    pub fn set_revoked(&self, device: DeviceKey, revoked: bool) {
        self.shard(device).seat(device).revoked = revoked;
    }

    /// Forgets what was kept hot of a deleted device and refuses the rest.
    pub fn forget(&self, device: DeviceKey) {
        self.set_revoked(device, true);
        self.hot.forget(device);
    }

    /// What came in since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// What was refused since the start, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.tally.refused()
    }

    /// Takes up what an earlier process remembered of `device`.
    pub(crate) fn restore(&self, device: DeviceKey, inbox: Inbox) {
        self.shard(device).seat(device).inbox = inbox;
    }

    fn shard(&self, device: DeviceKey) -> MutexGuard<'_, Shard> {
        self.shards[device.0 as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
