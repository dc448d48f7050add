//! The committer's way in: told at once, then left to wait for the store.

use async_trait::async_trait;

use super::committer::{Committer, matters};
use super::lane::Item;
use super::{Gate, WayIn};
use crate::decode::{Reason, Refusal};
use crate::ids::DeviceKey;
use crate::ports::journal::Receipt;
use crate::record::{ControlBody, Entry, Record};
use crate::services::ingest::{Inbound, Refusals, Totals};

impl Committer {
    fn pass_on(&self, message: &Inbound<'_>, entry: Entry, receipt: Option<Box<dyn Receipt>>) {
        let item = Item {
            entry,
            receipt,
            bytes: message.payload.len(),
        };
        if let Err(receipt) = self.lane.push(item) {
            self.reception.turn_away(receipt);
        }
    }

    /// A verdict goes to the dispatcher whether or not it came before, since
    /// that one may not have been written; only its mark is judged.
    fn pass_verdict(
        &self,
        message: &Inbound<'_>,
        record: Record,
        receipt: Option<Box<dyn Receipt>>,
    ) {
        let Record::Control(control) = &record else {
            return;
        };
        let Some(receipt) = receipt else {
            self.reception.tell(message, &record, None);
            return self.pass_on(message, Entry::Record(record), None);
        };
        let bytes = message.payload.len();
        match self.lane.push_verdict(control.clone(), receipt, bytes) {
            Ok(receipt) => self.reception.tell(message, &record, receipt),
            Err(receipt) => self.reception.turn_away(receipt),
        }
    }
}

#[async_trait]
impl WayIn for Committer {
    fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let Some(opened) = self.reception.open(message, receipt) else {
            return;
        };
        let heard = {
            let mut shard = self.reception.shard(message.device);
            let seat = shard.seat(message.device);
            if seat.revoked {
                drop(shard);
                let revoked = Refusal::revoked();
                return self.reception.refuse(message, &revoked, opened.receipt);
            }
            let heard = seat.memory.hear(opened.decoded);
            if matters(&heard.entry) {
                seat.memory.wait();
            }
            heard
        };
        if opened.alive {
            self.reception.seen(message);
        }
        match heard.entry {
            Entry::Record(record) if is_verdict(&record) => {
                self.pass_verdict(message, record, opened.receipt);
            }
            Entry::Record(record) => {
                if heard.is_new {
                    self.reception.tell(message, &record, None);
                }
                self.pass_on(message, Entry::Record(record), opened.receipt);
            }
            entry @ Entry::Readings(_) => {
                if let Some(samples) = heard.samples {
                    let record = Record::Telemetry(samples);
                    self.reception.tell(message, &record, None);
                }
                self.pass_on(message, entry, opened.receipt);
            }
        }
    }

    fn has_room(&self) -> bool {
        self.lane.has_room()
    }

    async fn room(&self) {
        self.lane.room().await;
    }
}

impl Gate for Committer {
    fn set_revoked(&self, device: DeviceKey, revoked: bool) {
        self.reception.set_revoked(device, revoked);
    }

    fn refusals(&self, device: DeviceKey) -> Option<Refusals> {
        self.reception.refusals(device)
    }

    fn totals(&self) -> Totals {
        self.reception.totals()
    }

    fn refused(&self) -> Vec<(Reason, u64)> {
        self.reception.refused().collect()
    }
}

const fn is_verdict(record: &Record) -> bool {
    match record {
        Record::Telemetry(_) => false,
        Record::Control(control) => matches!(control.body, ControlBody::Ack(_)),
    }
}
