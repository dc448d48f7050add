//! Readings whose samples are still to be told from repeats and given times.

use smallvec::SmallVec;

use super::telemetry::{put_values, read_values};
use super::{Encoded, READINGS};
use crate::clock::Timestamp;
use crate::decode::{DeviceTime, Reading, Sequence};
use crate::ids::{DeviceKey, SocketId};
use crate::varint::{Reader, put, put_signed};

/// One telemetry message as it came, checked and not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// Whose.
    pub device: DeviceKey,
    /// When it was received.
    pub at: Timestamp,
    /// What it says.
    pub readings: SmallVec<[Reading; 1]>,
}

const AT: u8 = 0;
const AGED: u8 = 1;
const UNKNOWN: u8 = 2;
/// Set beside the time's kind where a sequence follows.
const HAS_SEQUENCE: u8 = 4;

impl Readings {
    /// Whether it depends on what came before what its samples are: not where
    /// each reading has its device's own stamp.
    #[must_use]
    pub fn needs_judging(&self) -> bool {
        let stamped = |it: &Reading| matches!(it.time, DeviceTime::At(_));
        !self.readings.iter().all(stamped)
    }

    /// The bytes that the journal keeps.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut out = Encoded::new();
        out.push(READINGS);
        put(&mut out, self.device.0.into());
        put_signed(&mut out, self.at.as_millis());
        put(&mut out, self.readings.len() as u64);
        for reading in &self.readings {
            put_reading(&mut out, reading);
        }
        out
    }

    pub(super) fn decode(mut reader: Reader<'_>) -> Option<Self> {
        let device = DeviceKey(reader.u32()?);
        let at = Timestamp::from_millis(reader.signed()?);
        let mut readings = SmallVec::new();
        for _ in 0..reader.unsigned()? {
            readings.push(read_reading(&mut reader)?);
        }
        Some(Self {
            device,
            at,
            readings,
        })
    }
}

fn put_reading(out: &mut Encoded, reading: &Reading) {
    let (kind, ts) = match reading.time {
        DeviceTime::At(ts) => (AT, Some(ts)),
        DeviceTime::Aged(ts) => (AGED, Some(ts)),
        DeviceTime::Unknown => (UNKNOWN, None),
    };
    let sequence = reading.sequence;
    out.push(kind | if sequence.is_some() { HAS_SEQUENCE } else { 0 });
    if let Some(ts) = ts {
        put_signed(out, ts.as_millis());
    }
    if let Some(sequence) = sequence {
        put(out, sequence.boot.into());
        put(out, sequence.seq.into());
    }
    put(out, reading.values.len() as u64);
    for (socket, values) in &reading.values {
        out.push(socket.get());
        put_values(out, values);
    }
}

fn read_reading(reader: &mut Reader<'_>) -> Option<Reading> {
    let tag = reader.byte()?;
    let time = match tag & !HAS_SEQUENCE {
        AT => DeviceTime::At(Timestamp::from_millis(reader.signed()?)),
        AGED => DeviceTime::Aged(Timestamp::from_millis(reader.signed()?)),
        UNKNOWN => DeviceTime::Unknown,
        _ => return None,
    };
    let sequence = if tag & HAS_SEQUENCE == 0 {
        None
    } else {
        let (boot, seq) = (reader.u32()?, reader.u32()?);
        Some(Sequence { boot, seq })
    };
    let mut values = SmallVec::new();
    for _ in 0..reader.unsigned()? {
        let socket = SocketId::parse(reader.byte()?.into()).ok()?;
        values.push((socket, read_values(reader)?));
    }
    Some(Reading {
        time,
        sequence,
        values,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Entry;
    use crate::sample::Values;

    fn time() -> impl Strategy<Value = DeviceTime> {
        prop_oneof![
            any::<i64>().prop_map(|ms| DeviceTime::At(Timestamp::from_millis(ms))),
            any::<i64>().prop_map(|ms| DeviceTime::Aged(Timestamp::from_millis(ms))),
            Just(DeviceTime::Unknown),
        ]
    }

    fn reading() -> impl Strategy<Value = Reading> {
        let value = (0_u64..=32, any::<Option<i32>>(), any::<Option<i64>>());
        let values = prop::collection::vec(value, 0..5);
        (time(), any::<Option<(u32, u32)>>(), values).prop_map(|(time, place, values)| Reading {
            time,
            sequence: place.map(|(boot, seq)| Sequence { boot, seq }),
            values: values
                .into_iter()
                .map(|(socket, power_dw, energy_dwh)| {
                    let values = Values {
                        power_dw,
                        energy_dwh,
                        ..Values::default()
                    };
                    (SocketId::parse(socket).unwrap(), values)
                })
                .collect(),
        })
    }

    proptest! {
        #[test]
        fn readings_are_read_back_as_they_were(
            device: u32,
            at: i64,
            readings in prop::collection::vec(reading(), 0..4),
        ) {
            let readings = Readings {
                device: DeviceKey(device),
                at: Timestamp::from_millis(at),
                readings: readings.into(),
            };
            let bytes = readings.encode();
            prop_assert_eq!(Entry::decode(&bytes), Some(Entry::Readings(readings)));
        }

        #[test]
        fn any_bytes_are_readings_or_none(bytes: Vec<u8>) {
            let bytes = [&[READINGS][..], &bytes].concat();
            if let Some(Entry::Readings(readings)) = Entry::decode(&bytes) {
                prop_assert!(readings.readings.len() <= bytes.len());
            }
        }
    }
}
