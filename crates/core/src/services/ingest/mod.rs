//! The way in: decode, recognise repeats, give a time, append to the journal,
//! and tell those who live off it at once.
//!
//! Called from the broker's connection tasks, in order for each connection;
//! never waits and never fails: a message is acknowledged when it is durable,
//! refused with its reason counted, or left unacknowledged when the journal
//! has no room.

mod inbox;
mod tally;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

pub(crate) use inbox::Inbox;
pub use tally::{LastRefusal, Refusals, Totals};

use tally::{Tally, bump};

use crate::clock::Timestamp;
use crate::decode::{
    self, Ack, DeviceEvent, DeviceTime, Reading, Reason, Refusal, Sequence, Status,
};
use crate::ids::{DeviceKey, EventId, uuid_v7};
use crate::ports::hot::HotState;
use crate::ports::journal::{AppendError, Importance, Journal, Receipt};
use crate::record::{Control, ControlBody, EventRecord, Record, Telemetry};
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

    /// A will; whether it counts is decided by its (boot, conn).
    fn will(&self, device: DeviceKey, will: &Status, at: Timestamp);

    /// A verdict on a command, not heard before.
    fn ack(&self, device: DeviceKey, ack: &Ack, at: Timestamp);

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

/// What became of a message under its device's lock.
enum Taken<T> {
    New(T),
    Repeat(Option<Box<dyn Receipt>>),
    Refused(Refusal, Option<Box<dyn Receipt>>),
    NotKept(AppendError, Option<Box<dyn Receipt>>),
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

    fn telemetry(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let readings = match decode::decode_telemetry(message.payload, message.received_at) {
            Ok(readings) => readings,
            Err(refusal) => return self.refuse(message, &refusal, receipt),
        };
        let taken = {
            let mut shard = self.shard(message.device);
            let seat = shard.seat(message.device);
            if seat.revoked {
                Taken::Refused(Refusal::revoked(), receipt)
            } else {
                self.take_readings(&mut seat.inbox, message, &readings, receipt)
            }
        };
        if let Some(telemetry) = self.settle(message, taken) {
            bump(&self.tally.samples, telemetry.samples.len() as u64);
            self.hot.put(message.device, &telemetry.samples);
            self.downstream.samples(message.device, &telemetry.samples);
        }
    }

    /// Under the device's lock, so that the journal has its messages in the
    /// order in which they were judged.
    fn take_readings(
        &self,
        inbox: &mut Inbox,
        message: &Inbound<'_>,
        readings: &[Reading],
        receipt: Option<Box<dyn Receipt>>,
    ) -> Taken<Telemetry> {
        let telemetry = stamped(inbox, message, readings);
        if telemetry.samples.is_empty() {
            return Taken::Repeat(receipt);
        }
        match self.append(&telemetry.encode(), receipt) {
            Ok(()) => {
                inbox.apply_telemetry(&telemetry);
                Taken::New(telemetry)
            }
            Err((error, receipt)) => Taken::NotKept(error, receipt),
        }
    }

    fn status(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let status = match decode::decode_status(message.payload) {
            Ok(status) => status,
            Err(refusal) => return self.refuse(message, &refusal, receipt),
        };
        if message.will {
            self.downstream
                .will(message.device, &status, message.received_at);
            if let Some(receipt) = receipt {
                receipt.done();
            }
            return;
        }
        let place = Sequence::of(status.boot, status.seq);
        let online = status.online;
        let record = Control {
            device: message.device,
            at: message.received_at,
            body: ControlBody::Status(status),
        };
        let taken = self.take_control(message, record, receipt, |inbox| {
            inbox.is_newer(place, message.received_at)
        });
        if let Some(Control {
            body: ControlBody::Status(status),
            ..
        }) = self.settle_control(message, online, taken)
        {
            self.downstream
                .status(message.device, &status, message.received_at);
        }
    }

    fn ack(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let ack = match decode::decode_ack(message.payload) {
            Ok(ack) => ack,
            Err(refusal) => return self.refuse(message, &refusal, receipt),
        };
        let (place, print) = (ack.sequence, ack_print(&ack));
        let record = Control {
            device: message.device,
            at: message.received_at,
            body: ControlBody::Ack(ack),
        };
        let taken = self.take_control(message, record, receipt, |inbox| {
            !inbox.has_control(place, print)
        });
        if let Some(Control {
            body: ControlBody::Ack(ack),
            ..
        }) = self.settle_control(message, true, taken)
        {
            self.downstream
                .ack(message.device, &ack, message.received_at);
        }
    }

    fn event(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let event = match decode::decode_event(message.payload, message.received_at) {
            Ok(event) => event_record(message, event),
            Err(refusal) => return self.refuse(message, &refusal, receipt),
        };
        let (place, print) = (event.sequence, event_print(event.id));
        let record = Control {
            device: message.device,
            at: message.received_at,
            body: ControlBody::Event(event),
        };
        let taken = self.take_control(message, record, receipt, |inbox| {
            !inbox.has_control(place, print)
        });
        if let Some(Control {
            body: ControlBody::Event(event),
            ..
        }) = self.settle_control(message, true, taken)
        {
            self.downstream
                .event(message.device, &event, message.received_at);
        }
    }

    fn take_control(
        &self,
        message: &Inbound<'_>,
        record: Control,
        receipt: Option<Box<dyn Receipt>>,
        is_new: impl FnOnce(&Inbox) -> bool,
    ) -> Taken<Control> {
        let Some(bytes) = record.encode() else {
            return Taken::Refused(Refusal::not_for_devices(), receipt);
        };
        let mut shard = self.shard(message.device);
        let seat = shard.seat(message.device);
        if seat.revoked {
            return Taken::Refused(Refusal::revoked(), receipt);
        }
        if !is_new(&seat.inbox) {
            return Taken::Repeat(receipt);
        }
        match self.append(&bytes, receipt) {
            Ok(()) => {
                let record = Record::Control(record);
                seat.inbox.apply(&record);
                match record {
                    Record::Control(control) => Taken::New(control),
                    Record::Telemetry(_) => Taken::Repeat(None),
                }
            }
            Err((error, receipt)) => Taken::NotKept(error, receipt),
        }
    }

    fn append(
        &self,
        record: &[u8],
        receipt: Option<Box<dyn Receipt>>,
    ) -> Result<(), (AppendError, Option<Box<dyn Receipt>>)> {
        let importance = match receipt {
            Some(_) => Importance::Acknowledged,
            None => Importance::Droppable,
        };
        self.journal.append(record, importance, receipt)
    }

    fn settle_control(
        &self,
        message: &Inbound<'_>,
        online: bool,
        taken: Taken<Control>,
    ) -> Option<Control> {
        if online {
            return self.settle(message, taken);
        }
        let silent = Inbound {
            retained: true,
            ..*message
        };
        self.settle(&silent, taken)
    }

    /// Answers and counts what is not new; a sign of life it is all the same.
    fn settle<T>(&self, message: &Inbound<'_>, taken: Taken<T>) -> Option<T> {
        let new = match taken {
            Taken::New(new) => Some(new),
            Taken::Repeat(receipt) => {
                bump(&self.tally.repeats, 1);
                if let Some(receipt) = receipt {
                    self.journal.barrier(receipt);
                }
                None
            }
            Taken::Refused(refusal, receipt) => {
                self.refuse(message, &refusal, receipt);
                return None;
            }
            Taken::NotKept(AppendError::Full | AppendError::Closed, receipt) => {
                match receipt {
                    Some(receipt) => {
                        bump(&self.tally.unacknowledged, 1);
                        receipt.failed();
                    }
                    None => bump(&self.tally.dropped, 1),
                }
                None
            }
        };
        if !message.retained {
            self.downstream.seen(message.device, message.received_at);
        }
        new
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
        let mut shard = self.shard(device);
        shard.seat(device).refusals.as_deref().cloned()
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

/// The readings that did not come before, with their times.
fn stamped(inbox: &Inbox, message: &Inbound<'_>, readings: &[Reading]) -> Telemetry {
    let mut telemetry = Telemetry {
        device: message.device,
        sequences: SmallVec::new(),
        stamped: false,
        samples: SmallVec::new(),
    };
    let mut last = inbox.last_ts();
    for reading in readings {
        let ts = match reading.time {
            DeviceTime::At(ts) => ts,
            DeviceTime::Aged(_) | DeviceTime::Unknown => {
                if let Some(place) = reading.sequence {
                    if inbox.has_reading(place) || telemetry.sequences.contains(&place) {
                        continue;
                    }
                    telemetry.sequences.push(place);
                }
                match reading.time {
                    DeviceTime::At(ts) | DeviceTime::Aged(ts) => ts,
                    DeviceTime::Unknown => {
                        telemetry.stamped = true;
                        let next = Timestamp::from_millis(last.as_millis().saturating_add(1));
                        message.received_at.max(next)
                    }
                }
            }
        };
        last = last.max(ts);
        let samples = reading.values.iter().map(|(socket, values)| Sample {
            socket: *socket,
            ts,
            values: *values,
        });
        telemetry.samples.extend(samples);
    }
    telemetry
}

/// Gives an event its id: the same one for a repeat that can be recognised by
/// its stamp, whatever happened in between.
fn event_record(message: &Inbound<'_>, event: DeviceEvent) -> EventRecord {
    let (ts, id) = match event.time {
        DeviceTime::At(ts) => (ts, stamped_event_id(message, &event, ts)),
        DeviceTime::Aged(ts) => (ts, EventId(uuid_v7(message.received_at))),
        DeviceTime::Unknown => (message.received_at, EventId(uuid_v7(message.received_at))),
    };
    EventRecord {
        id,
        ts,
        kind: event.kind,
        socket: event.socket,
        data: event.data,
        sequence: event.sequence,
    }
}

/// A `UUIDv7` of the event's own moment, whose random part is a digest of it.
fn stamped_event_id(message: &Inbound<'_>, event: &DeviceEvent, ts: Timestamp) -> EventId {
    let mut digest = Sha256::new();
    digest.update(message.device.0.to_le_bytes());
    digest.update(ts.as_millis().to_le_bytes());
    digest.update([event.socket.get()]);
    digest.update(event.kind.as_bytes());
    digest.update([0]);
    digest.update(event.data.to_string().as_bytes());
    let digest: [u8; 32] = digest.finalize().into();
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    let ms = u64::try_from(ts.as_millis()).unwrap_or(0);
    EventId(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
}

pub(crate) fn event_print(id: EventId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    high ^ low
}

pub(crate) fn ack_print(ack: &Ack) -> u64 {
    let (high, low) = ack.command.0.as_u64_pair();
    let told =
        u64::from(ack.socket.get()) << 1 | u64::from(ack.status == crate::wire::AckStatus::Success);
    high.rotate_left(7) ^ low ^ told
}
