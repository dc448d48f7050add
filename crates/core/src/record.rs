//! What the journal holds: one record for one message that was taken in.
//!
//! Telemetry, nearly all there is, is written as integers of variable length
//! (some 25 bytes for a strip's totals); the rest as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use smallvec::SmallVec;

use crate::clock::Timestamp;
use crate::decode::{Ack, Sequence, Status};
use crate::ids::{DeviceKey, EventId, SocketId};
use crate::sample::{Sample, Values};
use crate::varint::{Reader, put, put_signed};

/// One taken message.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Samples of one device.
    Telemetry(Telemetry),
    /// Anything else.
    Control(Control),
}

/// The samples of one message, and how its repeat would be recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Whose.
    pub device: DeviceKey,
    /// The places of the readings that carried no stamp of their own.
    pub sequences: SmallVec<[Sequence; 1]>,
    /// Whether a stamp was given by the platform, so that the next one has to
    /// be later.
    pub stamped: bool,
    /// The samples.
    pub samples: SmallVec<[Sample; 4]>,
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

/// A record's bytes; on the stack for any usual message.
pub type Encoded = SmallVec<[u8; 256]>;

impl Telemetry {
    /// The bytes that the journal keeps.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut out = Encoded::new();
        out.push(TELEMETRY);
        put(&mut out, self.device.0.into());
        out.push(u8::from(self.stamped));
        put(&mut out, self.sequences.len() as u64);
        for sequence in &self.sequences {
            put(&mut out, sequence.boot.into());
            put(&mut out, sequence.seq.into());
        }
        put(&mut out, self.samples.len() as u64);
        let mut before = 0;
        for sample in &self.samples {
            out.push(sample.socket.get());
            let ts = sample.ts.as_millis();
            put_signed(&mut out, ts.wrapping_sub(before));
            before = ts;
            put_values(&mut out, &sample.values);
        }
        out
    }

    fn decode(mut reader: Reader<'_>) -> Option<Self> {
        let device = DeviceKey(reader.u32()?);
        let stamped = reader.byte()? == 1;
        let mut sequences = SmallVec::new();
        for _ in 0..reader.unsigned()? {
            let (boot, seq) = (reader.u32()?, reader.u32()?);
            sequences.push(Sequence { boot, seq });
        }
        let mut samples = SmallVec::new();
        let mut before = 0_i64;
        for _ in 0..reader.unsigned()? {
            let socket = SocketId::parse(reader.byte()?.into()).ok()?;
            before = before.wrapping_add(reader.signed()?);
            let ts = Timestamp::from_millis(before);
            let values = read_values(&mut reader)?;
            samples.push(Sample { socket, ts, values });
        }
        Some(Self {
            device,
            sequences,
            stamped,
            samples,
        })
    }
}

/// Which measurements follow: one bit each.
fn put_values(out: &mut Encoded, values: &Values) {
    let mask = u8::from(values.power_dw.is_some())
        | u8::from(values.voltage_dv.is_some()) << 1
        | u8::from(values.current_ma.is_some()) << 2
        | u8::from(values.energy_dwh.is_some()) << 3
        | u8::from(values.power_factor_centi.is_some()) << 4;
    out.push(mask);
    let measured = [
        values.power_dw.map(i64::from),
        values.voltage_dv.map(i64::from),
        values.current_ma.map(i64::from),
        values.energy_dwh,
        values.power_factor_centi.map(i64::from),
    ];
    for value in measured.into_iter().flatten() {
        put_signed(out, value);
    }
}

fn read_values(reader: &mut Reader<'_>) -> Option<Values> {
    let mask = reader.byte()?;
    let has = |bit: u8| mask & (1 << bit) != 0;
    let mut values = Values::default();
    if has(0) {
        values.power_dw = Some(reader.i32()?);
    }
    if has(1) {
        values.voltage_dv = Some(reader.i32()?);
    }
    if has(2) {
        values.current_ma = Some(reader.i32()?);
    }
    if has(3) {
        values.energy_dwh = Some(reader.signed()?);
    }
    if has(4) {
        values.power_factor_centi = Some(reader.i32()?);
    }
    Some(values)
}

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
    /// Reads a record back; `None` where the bytes are none of ours, such as
    /// those of a newer version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        match reader.byte()? {
            TELEMETRY => Telemetry::decode(reader).map(Self::Telemetry),
            CONTROL => serde_json::from_slice(reader.rest())
                .ok()
                .map(Self::Control),
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
            prop_assert_eq!(Record::decode(&bytes), Some(Record::Telemetry(telemetry)));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes: Vec<u8>) {
            let telemetry = [&[TELEMETRY][..], &bytes].concat();
            for bytes in [bytes, telemetry] {
                if let Some(Record::Telemetry(telemetry)) = Record::decode(&bytes) {
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
            assert_eq!(Record::decode(&bytes), Some(Record::Control(control)));
        }
    }
}
