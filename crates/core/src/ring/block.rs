//! A run of samples as differences: of a regular series, a sample takes three
//! to four bytes.

use std::ops::RangeInclusive;

use super::bits::{BitReader, BitWriter, Size};
use crate::clock::Timestamp;
use crate::ports::hot::RingSample;
use crate::sample::Values;
use crate::varint::{self, Reader, unzigzag, zigzag};

/// The most that what stands before the samples of a written run takes, bytes.
const HEADER_MAX: usize = 25;
/// Measurements in a sample.
const COLUMNS: usize = 5;
/// What the first sample of a run takes, about, and each further one, bytes.
const FIRST_BYTES: usize = 24;
const NEXT_BYTES: usize = 6;
/// The least that a sample takes: one bit each for its time and its mask.
const SAMPLE_BITS_MIN: usize = 2;
const POWER: usize = 0;
const VOLTAGE: usize = 1;
const CURRENT: usize = 2;
const ENERGY: usize = 3;

/// A closed run of samples in order of their time.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u32,
    bits: Box<[u8]>,
}

/// A run of samples that still grows.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) count: u32,
    model: Model,
    bits: BitWriter,
}

/// What both sides know of the samples so far, and expect of the next.
#[derive(Debug, Clone, Copy, Default)]
struct Model {
    beat: Beat,
    /// Which measurements there are: one bit each.
    mask: u8,
    columns: [Column; COLUMNS],
}

/// A regular series in time, seen through jitter.
#[derive(Debug, Clone, Copy, Default)]
struct Beat {
    ts: i64,
    /// Where the regular beat is, in sixteenths of a ms.
    phase16: i64,
    /// From beat to beat, in sixteenths of a ms.
    step16: i64,
    jumped: bool,
    size: Size,
}

/// A level seen through noise.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    value: i64,
    /// The value before.
    before: i64,
    level16: i64,
    size: Size,
}

impl Tail {
    /// Appends a sample later than all before it.
    pub(super) fn push(&mut self, sample: &RingSample) {
        if self.count == 0 {
            self.first = sample.ts;
            self.model = Model::from(sample.ts);
        }
        self.last = sample.ts;
        self.count += 1;
        self.model.put(&mut self.bits, sample);
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = RingSample> + '_ {
        decode(self.bits.bytes(), self.first, self.count)
    }

    /// Bytes of memory that it holds besides itself.
    pub(super) const fn bytes(&self) -> usize {
        self.bits.capacity()
    }

    pub(super) fn close(self) -> Block {
        Block {
            first: self.first,
            last: self.last,
            count: self.count,
            bits: self.bits.into_bytes(),
        }
    }

    /// Appends it in the form that [`Block::read`] reads.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write(self.count, self.first..=self.last, self.bits.bytes(), out);
    }

    /// A run of `samples`, which are in order.
    pub(super) fn of(samples: &[RingSample]) -> Self {
        let mut tail = Self {
            bits: BitWriter::with_capacity(FIRST_BYTES + NEXT_BYTES * samples.len()),
            ..Self::default()
        };
        for sample in samples {
            tail.push(sample);
        }
        tail
    }
}

impl Block {
    pub(super) fn samples(&self) -> impl Iterator<Item = RingSample> + '_ {
        decode(&self.bits, self.first, self.count)
    }

    /// Appends it in the form that [`Block::read`] reads.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write(self.count, self.first..=self.last, &self.bits, out);
    }

    /// Reads what [`Block::write`] wrote; `None` where that cannot be.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let count = reader.u32()?;
        let first = reader.signed()?;
        let span = i64::try_from(reader.unsigned()?).ok()?;
        let bits = reader.rest();
        let possible = bits.len().saturating_mul(8) / SAMPLE_BITS_MIN;
        (count > 0 && count as usize <= possible).then_some(())?;
        Some(Self {
            first: Timestamp::from_millis(first),
            last: Timestamp::from_millis(first.checked_add(span)?),
            count,
            bits: bits.into(),
        })
    }

    /// Bytes of memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.bits.len()
    }
}

fn write(count: u32, times: RangeInclusive<Timestamp>, bits: &[u8], out: &mut Vec<u8>) {
    let span = times.end().since(*times.start()).as_millis();
    out.reserve(HEADER_MAX + bits.len());
    varint::put(out, count.into());
    varint::put_signed(out, times.start().as_millis());
    varint::put(out, u64::try_from(span).unwrap_or(u64::MAX));
    out.extend_from_slice(bits);
}

fn decode(bits: &[u8], first: Timestamp, count: u32) -> impl Iterator<Item = RingSample> + '_ {
    let mut model = Model::from(first);
    let mut input = BitReader::new(bits);
    (0..count).map(move |_| model.take(&mut input))
}

impl Model {
    /// Expects a first sample at `first`.
    fn from(first: Timestamp) -> Self {
        Self {
            beat: Beat {
                ts: first.as_millis(),
                phase16: first.as_millis().wrapping_mul(16),
                // The first step is worth learning at once.
                jumped: true,
                ..Beat::default()
            },
            ..Self::default()
        }
    }

    fn put(&mut self, out: &mut BitWriter, sample: &RingSample) {
        self.beat.put(out, sample.ts.as_millis());
        let measured = columns_of(&sample.values);
        let mask = (0..COLUMNS)
            .filter(|n| measured[*n].is_some())
            .fold(0, |mask, n| mask | 1 << n);
        out.put(u64::from(mask != self.mask), 1);
        if mask != self.mask {
            out.put(mask.into(), 5);
            self.mask = mask;
        }
        for (n, value) in measured.into_iter().enumerate() {
            if let Some(value) = value {
                let expected = self.expected(n);
                self.columns[n].put(out, value, expected);
            }
        }
    }

    fn take(&mut self, input: &mut BitReader<'_>) -> RingSample {
        let ts = self.beat.take(input);
        if input.take(1) == 1 {
            self.mask = input.take(5).to_le_bytes()[0];
        }
        let mut measured = [None; COLUMNS];
        for (n, value) in measured.iter_mut().enumerate() {
            if self.mask & 1 << n != 0 {
                let expected = self.expected(n);
                *value = Some(self.columns[n].take(input, expected));
            }
        }
        RingSample {
            ts: Timestamp::from_millis(ts),
            values: values_of(measured),
        }
    }

    /// What column `n` should show, given the columns before it: current goes
    /// with power over voltage, a counter goes on as it went.
    fn expected(&self, n: usize) -> i64 {
        let column = &self.columns[n];
        match n {
            CURRENT => self.expected_current(),
            ENERGY => column
                .value
                .wrapping_add(column.value.wrapping_sub(column.before)),
            _ => column.level16 >> 4,
        }
    }

    fn expected_current(&self) -> i64 {
        let [power, voltage] = [&self.columns[POWER], &self.columns[VOLTAGE]];
        let current = i128::from(self.columns[CURRENT].value);
        let now = i128::from(power.value) * i128::from(voltage.before);
        let before = i128::from(power.before) * i128::from(voltage.value);
        let both_known = self.mask & 0b11 == 0b11;
        let in_proportion = current
            .checked_mul(now)
            .and_then(|it| it.checked_div(before));
        let expected = in_proportion.filter(|_| both_known).unwrap_or(current);
        i64::try_from(expected).unwrap_or(0)
    }
}

impl Beat {
    const fn expected(&self) -> i64 {
        self.phase16.wrapping_add(self.step16) >> 4
    }

    fn put(&mut self, out: &mut BitWriter, ts: i64) {
        let off = ts.wrapping_sub(self.expected());
        let jumps = self.size.is_outlier(zigzag(off));
        self.size.put(out, zigzag(off));
        self.follow(ts, off, jumps);
    }

    fn take(&mut self, input: &mut BitReader<'_>) -> i64 {
        let before = self.size;
        let off = self.size.take(input);
        let jumps = before.is_outlier(off);
        let ts = self.expected().wrapping_add(unzigzag(off));
        self.follow(ts, unzigzag(off), jumps);
        ts
    }

    /// Follows the beat through jitter; after a gap it goes on from there,
    /// after two jumps in a row with another step.
    const fn follow(&mut self, ts: i64, off: i64, jumps: bool) {
        if jumps {
            if self.jumped {
                self.step16 = ts.wrapping_sub(self.ts).wrapping_mul(16);
            }
            self.phase16 = ts.wrapping_mul(16);
        } else {
            let expected = self.phase16.wrapping_add(self.step16);
            self.phase16 = expected.wrapping_add(off.wrapping_mul(4));
            self.step16 = self.step16.wrapping_add(off);
        }
        self.jumped = jumps;
        self.ts = ts;
    }
}

impl Column {
    fn put(&mut self, out: &mut BitWriter, value: i64, expected: i64) {
        let off = value.wrapping_sub(expected);
        let jumps = self.size.is_outlier(zigzag(off));
        self.size.put(out, zigzag(off));
        self.follow(value, jumps);
    }

    fn take(&mut self, input: &mut BitReader<'_>, expected: i64) -> i64 {
        let before = self.size;
        let off = self.size.take(input);
        let value = expected.wrapping_add(unzigzag(off));
        self.follow(value, before.is_outlier(off));
        value
    }

    /// Follows the level through noise, and at once when it jumps.
    const fn follow(&mut self, value: i64, jumps: bool) {
        let off16 = value.wrapping_mul(16).wrapping_sub(self.level16);
        let step = if jumps { off16 } else { off16 / 4 };
        self.level16 = self.level16.wrapping_add(step);
        self.before = self.value;
        self.value = value;
    }
}

fn columns_of(values: &Values) -> [Option<i64>; COLUMNS] {
    [
        values.power_dw.map(i64::from),
        values.voltage_dv.map(i64::from),
        values.current_ma.map(i64::from),
        values.energy_dwh,
        values.power_factor_centi.map(i64::from),
    ]
}

fn values_of(columns: [Option<i64>; COLUMNS]) -> Values {
    // What was put were 32-bit numbers, so what is read back are too.
    let narrow = |value: Option<i64>| value.and_then(|value| i32::try_from(value).ok());
    Values {
        power_dw: narrow(columns[0]),
        voltage_dv: narrow(columns[1]),
        current_ma: narrow(columns[2]),
        energy_dwh: columns[3],
        power_factor_centi: narrow(columns[4]),
    }
}
