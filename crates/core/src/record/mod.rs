//! What the journal holds: one entry for one message that was taken in.
//!
//! Telemetry, nearly all there is, is written as integers of variable length
//! (some 25 bytes for a strip's totals); the rest as JSON.

mod readings;
mod shown;
mod telemetry;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::decode::{Ack, Sequence, Status};
use crate::ids::{DeviceKey, EventId, SocketId};
use crate::varint::Reader;

pub use readings::Readings;
pub use telemetry::Telemetry;

/// One message as the journal has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Judged already, or in no need of it.
    Record(Record),
    /// To be judged when it is kept.
    Readings(Readings),
}

/// One taken message.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Samples of one device.
    Telemetry(Telemetry),
    /// Anything else.
    Control(Control),
}

/// A message besides telemetry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Whose.
    pub device: DeviceKey,
    /// When it was received.
    pub at: Timestamp,
    /// What it says.
    pub body: ControlBody,
}

/// What a [`Control`] message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ControlBody {
    /// The device's report of itself; newer than every one before it.
    Status(Status),
    /// The verdict on a command.
    Ack(Ack),
    /// Something that happened.
    Event(EventRecord),
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Made where it entered, so that a repeated write changes nothing.
    pub id: EventId,
    /// When it happened.
    pub ts: Timestamp,
    /// The firmware's name for it.
    pub kind: String,
    /// Which socket; 0 for the whole strip.
    pub socket: SocketId,
    /// Details, free in form.
    pub data: Value,
    /// Its place among the device's messages.
    pub sequence: Option<Sequence>,
}

const TELEMETRY: u8 = 1;
const CONTROL: u8 = 2;
const READINGS: u8 = 3;

/// A record's bytes; on the stack for any usual message.
pub type Encoded = SmallVec<[u8; 256]>;

impl Control {
    /// The bytes that the journal keeps; `None` where the body cannot be
    /// written as JSON, which no checked body is.
    #[must_use]
    pub fn encode(&self) -> Option<Encoded> {
        let mut out = Encoded::new();
        out.push(CONTROL);
        out.extend_from_slice(&serde_json::to_vec(self).ok()?);
        Some(out)
    }
}

impl Record {
    /// Whose message it is.
    #[must_use]
    pub const fn device(&self) -> DeviceKey {
        match self {
            Self::Telemetry(telemetry) => telemetry.device,
            Self::Control(control) => control.device,
        }
    }

    /// The bytes that the journal keeps; `None` as in [`Control::encode`].
    #[must_use]
    pub fn encode(&self) -> Option<Encoded> {
        match self {
            Self::Telemetry(telemetry) => Some(telemetry.encode()),
            Self::Control(control) => control.encode(),
        }
    }
}

impl Entry {
    /// Whose message it is.
    #[must_use]
    pub const fn device(&self) -> DeviceKey {
        match self {
            Self::Record(record) => record.device(),
            Self::Readings(readings) => readings.device,
        }
    }

    /// The bytes that the journal keeps; `None` as in [`Control::encode`].
    #[must_use]
    pub fn encode(&self) -> Option<Encoded> {
        match self {
            Self::Record(record) => record.encode(),
            Self::Readings(readings) => Some(readings.encode()),
        }
    }

    /// Reads an entry back; `None` where the bytes are none of ours, such as
    /// those of a newer version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            TELEMETRY => Telemetry::decode(reader).map(|it| Self::Record(Record::Telemetry(it))),
            CONTROL => serde_json::from_slice(reader.rest())
                .ok()
                .map(|it| Self::Record(Record::Control(it))),
            READINGS => Readings::decode(reader).map(Self::Readings),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ids::uuid_v7;
    use crate::sample::{Sample, Values};

    fn values() -> impl Strategy<Value = Values> {
        any::<(
            Option<i32>,
            Option<i32>,
            Option<i32>,
            Option<i64>,
            Option<i32>,
        )>()
        .prop_map(
            |(power_dw, voltage_dv, current_ma, energy_dwh, power_factor_centi)| Values {
                power_dw,
                voltage_dv,
                current_ma,
                energy_dwh,
                power_factor_centi,
            },
        )
    }

    fn sample() -> impl Strategy<Value = Sample> {
        (0_u64..=32, any::<i64>(), values()).prop_map(|(socket, ts, values)| Sample {
            socket: SocketId::parse(socket).unwrap(),
            ts: Timestamp::from_millis(ts),
            values,
        })
    }

    proptest! {
        #[test]
        fn telemetry_is_read_back_as_it_was(
            device: u32,
            stamped: bool,
            places in prop::collection::vec(any::<(u32, u32)>(), 0..4),
            samples in prop::collection::vec(sample(), 0..10),
        ) {
            let telemetry = Telemetry {
                device: DeviceKey(device),
                sequences: places.into_iter().map(|(boot, seq)| Sequence { boot, seq }).collect(),
                stamped,
                samples: samples.into(),
            };
            let bytes = telemetry.encode();
            let read = Entry::Record(Record::Telemetry(telemetry));
            prop_assert_eq!(Entry::decode(&bytes), Some(read));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes: Vec<u8>) {
            let telemetry = [&[TELEMETRY][..], &bytes].concat();
            for bytes in [bytes, telemetry] {
                if let Some(Entry::Record(Record::Telemetry(telemetry))) = Entry::decode(&bytes) {
                    prop_assert!(telemetry.samples.len() <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn control_is_read_back_as_it_was() {
        let at = Timestamp::from_millis(1_767_323_045_000);
        let status = Status {
            online: true,
            boot: Some(3),
            sockets: vec![(SocketId::parse(2).unwrap(), true)],
            ..Status::default()
        };
        let event = EventRecord {
            id: EventId(uuid_v7(at)),
            ts: at,
            kind: "overload".to_owned(),
            socket: SocketId::STRIP,
            data: json!({"powerW": 2810}),
            sequence: Some(Sequence { boot: 1, seq: 2 }),
        };
        for body in [ControlBody::Status(status), ControlBody::Event(event)] {
            let control = Control {
                device: DeviceKey(7),
                at,
                body,
            };
            let bytes = control.encode().unwrap();
            let read = Entry::Record(Record::Control(control));
            assert_eq!(Entry::decode(&bytes), Some(read));
        }
    }
}
