//! One message under its device's lock: judged, appended, remembered.

use super::stamp::{ack_print, event_print, event_record, stamped};
use super::tally::bump;
use super::{Inbound, Inbox, Ingest};
use crate::decode::{self, Reading, Refusal, Sequence};
use crate::ports::journal::{AppendError, Importance, Receipt};
use crate::record::{Control, ControlBody, Record, Telemetry};

/// What became of a message under its device's lock.
enum Taken<T> {
    New(T),
    Repeat(Option<Box<dyn Receipt>>),
    Refused(Refusal, Option<Box<dyn Receipt>>),
    NotKept(AppendError, Option<Box<dyn Receipt>>),
}

impl Ingest {
    pub(super) fn telemetry(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
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

    pub(super) fn status(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let status = match decode::decode_status(message.payload) {
            Ok(status) => status,
            Err(refusal) => return self.refuse(message, &refusal, receipt),
        };
        if message.retained && !status.online {
            // An old will or farewell: it reports nothing and proves nothing.
            if let Some(receipt) = receipt {
                receipt.done();
            }
            return;
        }
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
            let downstream = &self.downstream;
            if message.retained {
                downstream.restored(message.device, &status, message.received_at);
            } else {
                downstream.status(message.device, &status, message.received_at);
            }
        }
    }

    pub(super) fn ack(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
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
                .ack(message.device, &ack, message.received_at, None);
        }
    }

    pub(super) fn event(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
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
}
