//! Samples that were judged, or need no judging.

use smallvec::SmallVec;

use super::{Encoded, TELEMETRY};
use crate::clock::Timestamp;
use crate::decode::Sequence;
use crate::ids::{DeviceKey, SocketId};
use crate::sample::{Sample, Values};
use crate::varint::{Reader, put, put_signed};

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

    pub(super) fn decode(mut reader: Reader<'_>) -> Option<Self> {
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
pub(super) fn put_values(out: &mut Encoded, values: &Values) {
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

pub(super) fn read_values(reader: &mut Reader<'_>) -> Option<Values> {
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
