//! Times and ids for what came without them.

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{Inbound, Inbox};
use crate::clock::Timestamp;
use crate::decode::{Ack, DeviceEvent, DeviceTime};
use crate::ids::{EventId, uuid_v7};
use crate::record::{EventRecord, Readings, Telemetry};
use crate::sample::Sample;
use crate::wire::AckStatus;

/// The readings that did not come before, with their times.
pub(super) fn stamped(inbox: &Inbox, message: &Readings) -> Telemetry {
    let mut telemetry = Telemetry {
        device: message.device,
        sequences: SmallVec::new(),
        stamped: false,
        samples: SmallVec::new(),
    };
    let mut last = inbox.last_ts();
    for reading in &message.readings {
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
                        message.at.max(next)
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
pub(super) fn event_record(message: &Inbound<'_>, event: DeviceEvent) -> EventRecord {
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

/// By what a repeat of an event is recognised.
pub(super) fn event_print(id: EventId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    high ^ low
}

/// By what a repeat of an ack without a sequence is recognised.
pub(super) fn ack_print(ack: &Ack) -> u64 {
    let (high, low) = ack.command.0.as_u64_pair();
    let told = u64::from(ack.socket.get()) << 1 | u64::from(ack.status == AckStatus::Success);
    high.rotate_left(7) ^ low ^ told
}
