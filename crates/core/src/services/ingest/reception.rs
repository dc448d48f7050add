//! What every way in begins and ends with, whichever way messages are kept:
//! decoding, refusing and counting, and telling those who live off it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stamp::event_record;
use super::tally::{Tally, bump};
use super::{Downstream, Inbound, LastRefusal, Refusals, Totals};
use crate::decode::{self, Reason, Refusal};
use crate::ids::DeviceKey;
use crate::ports::hot::HotState;
use crate::ports::journal::Receipt;
use crate::record::{Control, ControlBody, Readings, Record};
use crate::topic::Channel;

/// Locks over the devices' seats; a power of two.
const SHARDS: usize = 64;

/// A checked message that its device's inbox has not judged yet.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Telemetry.
    Readings(Readings),
    /// Anything else.
    Control(Control),
}

impl Decoded {
    /// Checks a body.
    fn of(message: &Inbound<'_>) -> Result<Self, Refusal> {
        let body = match message.channel {
            Channel::Telemetry => {
                return Ok(Self::Readings(Readings {
                    device: message.device,
                    at: message.received_at,
                    readings: decode::decode_telemetry(message.payload, message.received_at)?,
                }));
            }
            Channel::Status => ControlBody::Status(decode::decode_status(message.payload)?),
            Channel::Ack => ControlBody::Ack(decode::decode_ack(message.payload)?),
            Channel::Event => {
                let event = decode::decode_event(message.payload, message.received_at)?;
                ControlBody::Event(event_record(message, event))
            }
            Channel::Cmd | Channel::Enrol => return Err(Refusal::not_for_devices()),
        };
        Ok(Self::Control(Control {
            device: message.device,
            at: message.received_at,
            body,
        }))
    }

    /// Whether it says that its device goes.
    const fn is_farewell(&self) -> bool {
        match self {
            Self::Readings(_) => false,
            Self::Control(control) => match &control.body {
                ControlBody::Status(status) => !status.online,
                ControlBody::Ack(_) | ControlBody::Event(_) => false,
            },
        }
    }
}

/// A message with something left to judge.
pub(crate) struct Opened {
    /// What it says.
    pub(crate) decoded: Decoded,
    /// Whether it is a sign of life.
    pub(crate) alive: bool,
    /// Answers its sender.
    pub(crate) receipt: Option<Box<dyn Receipt>>,
}

/// What is known of each device on the way in, `M` being the memory of its
/// messages, and who is told of them.
pub(crate) struct Reception<M> {
    shards: Box<[Mutex<Shard<M>>]>,
    pub(crate) tally: Tally,
    hot: Arc<dyn HotState>,
    downstream: Arc<dyn Downstream>,
}

/// The devices whose keys fall on one lock, by key / [`SHARDS`].
#[derive(Debug)]
pub(crate) struct Shard<M> {
    seats: Vec<Option<Box<Seat<M>>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Seat<M> {
    pub(crate) memory: M,
    refusals: Option<Box<Refusals>>,
    /// Whatever still comes from this device is refused.
    pub(crate) revoked: bool,
}

impl<M: Default> Shard<M> {
    pub(crate) fn seat(&mut self, device: DeviceKey) -> &mut Seat<M> {
        let index = device.0 as usize / SHARDS;
        if index >= self.seats.len() {
            self.seats.resize_with(index + 1, || None);
        }
        self.seats[index].get_or_insert_default()
    }
}

impl<M: Default> Reception<M> {
    pub(crate) fn new(hot: Arc<dyn HotState>, downstream: Arc<dyn Downstream>) -> Self {
        let empty = || Mutex::new(Shard { seats: Vec::new() });
        Self {
            shards: std::iter::repeat_with(empty).take(SHARDS).collect(),
            tally: Tally::default(),
            hot,
            downstream,
        }
    }

    /// Counts and decodes a message; `None` where nothing is left to judge: it
    /// was refused or is a will.
    pub(crate) fn open(
        &self,
        message: &Inbound<'_>,
        receipt: Option<Box<dyn Receipt>>,
    ) -> Option<Opened> {
        bump(&self.tally.messages, 1);
        let decoded = match Decoded::of(message) {
            Ok(decoded) => decoded,
            Err(refusal) => {
                self.refuse(message, &refusal, receipt);
                return None;
            }
        };
        let farewell = decoded.is_farewell();
        if let Decoded::Control(control) = &decoded
            && let ControlBody::Status(status) = &control.body
            && (message.will || (message.retained && farewell))
        {
            // An old will or farewell reports nothing and proves nothing.
            if !message.retained {
                self.downstream
                    .will(message.device, status, message.received_at);
            }
            if let Some(receipt) = receipt {
                receipt.done();
            }
            return None;
        }
        Some(Opened {
            decoded,
            alive: !farewell && !message.retained,
            receipt,
        })
    }

    /// Refuses a message, for a reason that its device's page shows.
    pub(crate) fn refuse(
        &self,
        message: &Inbound<'_>,
        refusal: &Refusal,
        receipt: Option<Box<dyn Receipt>>,
    ) {
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

    /// Notes a sign of life.
    pub(crate) fn seen(&self, message: &Inbound<'_>) {
        self.downstream.seen(message.device, message.received_at);
    }

    /// Tells everyone of a message that is new. `receipt` is that of an ack
    /// which is not kept yet.
    pub(crate) fn tell(
        &self,
        message: &Inbound<'_>,
        record: &Record,
        receipt: Option<Box<dyn Receipt>>,
    ) {
        let (device, at) = (message.device, message.received_at);
        let control = match record {
            Record::Telemetry(telemetry) => {
                bump(&self.tally.samples, telemetry.samples.len() as u64);
                self.hot.put(device, &telemetry.samples);
                self.downstream.samples(device, &telemetry.samples);
                return;
            }
            Record::Control(control) => control,
        };
        match &control.body {
            ControlBody::Status(status) if message.retained => {
                self.downstream.restored(device, status, at);
            }
            ControlBody::Status(status) => self.downstream.status(device, status, at),
            ControlBody::Ack(ack) => self.downstream.ack(device, ack, at, receipt),
            ControlBody::Event(event) => self.downstream.event(device, event, at),
        }
    }

    /// Tells of what an earlier process took and may not have acted upon.
    pub(crate) fn tell_replayed(&self, control: &Control) {
        match &control.body {
            ControlBody::Status(status) if status.online => {
                self.downstream.restored(control.device, status, control.at);
            }
            ControlBody::Ack(ack) => {
                self.downstream.ack(control.device, ack, control.at, None);
            }
            ControlBody::Status(_) | ControlBody::Event(_) => {}
        }
    }

    /// Answers the sender of a message that could not be kept.
    pub(crate) fn turn_away(&self, receipt: Option<Box<dyn Receipt>>) {
        match receipt {
            Some(receipt) => {
                bump(&self.tally.unacknowledged, 1);
                receipt.failed();
            }
            None => bump(&self.tally.dropped, 1),
        }
    }

    pub(crate) fn refusals(&self, device: DeviceKey) -> Option<Refusals> {
        let shard = self.shard(device);
        let seat = shard.seats.get(device.0 as usize / SHARDS)?.as_ref()?;
        seat.refusals.as_deref().cloned()
    }

    pub(crate) fn set_revoked(&self, device: DeviceKey, revoked: bool) {
        self.shard(device).seat(device).revoked = revoked;
    }

    pub(crate) fn totals(&self) -> Totals {
        self.tally.totals()
    }

    pub(crate) fn refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        self.tally.refused()
    }

    pub(crate) fn shard(&self, device: DeviceKey) -> MutexGuard<'_, Shard<M>> {
        self.shards[device.0 as usize % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
