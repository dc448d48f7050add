//! One message under its device's lock: judged, appended, remembered.

use super::reception::Decoded;
use super::tally::bump;
use super::{Inbound, Inbox, Ingest};
use crate::decode::Refusal;
use crate::ports::journal::{AppendError, Importance, Receipt};
use crate::record::Record;

/// Why a message was not taken.
enum NotTaken {
    Repeat(Option<Box<dyn Receipt>>),
    Refused(Refusal, Option<Box<dyn Receipt>>),
    NotKept(AppendError, Option<Box<dyn Receipt>>),
}

impl Ingest {
    /// Takes one message. `receipt` is there where the sender waits for an
    /// acknowledgement.
    pub fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let Some(opened) = self.reception.open(message, receipt) else {
            return;
        };
        let taken = {
            let mut shard = self.reception.shard(message.device);
            let seat = shard.seat(message.device);
            if seat.revoked {
                Err(NotTaken::Refused(Refusal::revoked(), opened.receipt))
            } else {
                self.take(&mut seat.memory, opened.decoded, opened.receipt)
            }
        };
        self.settle(message, opened.alive, taken);
    }

    /// Under the device's lock, so that the journal has its messages in the
    /// order in which they were judged.
    fn take(
        &self,
        inbox: &mut Inbox,
        decoded: Decoded,
        receipt: Option<Box<dyn Receipt>>,
    ) -> Result<Record, NotTaken> {
        let Some(record) = inbox.judge(decoded) else {
            return Err(NotTaken::Repeat(receipt));
        };
        let Some(bytes) = record.encode() else {
            return Err(NotTaken::Refused(Refusal::not_for_devices(), receipt));
        };
        let importance = match receipt {
            Some(_) => Importance::Acknowledged,
            None => Importance::Droppable,
        };
        match self.journal.append(&bytes, importance, receipt) {
            Ok(()) => {
                inbox.apply(&record);
                Ok(record)
            }
            Err((error, receipt)) => Err(NotTaken::NotKept(error, receipt)),
        }
    }

    /// Answers and counts what is not new, a sign of life all the same, and
    /// tells of what is.
    fn settle(&self, message: &Inbound<'_>, alive: bool, taken: Result<Record, NotTaken>) {
        let reception = &self.reception;
        let new = match taken {
            Ok(new) => Some(new),
            Err(NotTaken::Repeat(receipt)) => {
                bump(&reception.tally.repeats, 1);
                if let Some(receipt) = receipt {
                    self.journal.barrier(receipt);
                }
                None
            }
            Err(NotTaken::Refused(refusal, receipt)) => {
                return reception.refuse(message, &refusal, receipt);
            }
            Err(NotTaken::NotKept(AppendError::Full | AppendError::Closed, receipt)) => {
                reception.turn_away(receipt);
                None
            }
        };
        if alive {
            reception.seen(message);
        }
        if let Some(record) = new {
            reception.tell(message, &record, None);
        }
    }
}
