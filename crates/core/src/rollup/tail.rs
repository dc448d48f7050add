//! What is remembered of a device's series from one batch to the next, as the
//! bytes that a database keeps in the device's own row.

use crate::clock::Timestamp;
use crate::energy::Reading;
use crate::ids::SocketId;
use crate::varint::{Reader, put, put_signed};

use super::bucket::{Bucket, BucketAt, Energy, Minutes};
use super::context::Context;
use super::series::Series;
use super::{MINUTE_MS, minute_start};

/// What the first byte says; another one is from a newer Dormouse.
const FORMAT: u8 = 1;

const HAS_NEWEST: u8 = 1;
const HAS_POWER: u8 = 2;
const HAS_COUNTER: u8 = 4;

/// The ends of a device's series, with what their newest minutes change in
/// rollups that do not hold it yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tail {
    /// In order of the sockets.
    series: Vec<(SocketId, SeriesTail)>,
}

/// One series' part of a [`Tail`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesTail {
    /// The end of the series.
    pub end: Series,
    /// What is still to be added to the rollups.
    pub pending: Minutes,
}

impl SeriesTail {
    /// Takes out what is complete: all pending minutes before the newest
    /// sample's own.
    pub fn take_complete(&mut self) -> Vec<BucketAt> {
        match self.end.newest() {
            Some(newest) => self.pending.take_before(minute_start(newest)),
            None => Vec::new(),
        }
    }
}

impl Tail {
    /// The tail of one series, if it ever had a sample.
    #[must_use]
    pub fn get(&self, socket: SocketId) -> Option<&SeriesTail> {
        let found = self.series.binary_search_by_key(&socket, |it| it.0);
        found.ok().map(|index| &self.series[index].1)
    }

    /// Replaces the tail of one series.
    pub fn set(&mut self, socket: SocketId, tail: SeriesTail) {
        match self.series.binary_search_by_key(&socket, |it| it.0) {
            Ok(index) => self.series[index].1 = tail,
            Err(index) => self.series.insert(index, (socket, tail)),
        }
    }

    /// Every series with its tail, in order of the sockets.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &SeriesTail)> {
        self.series.iter().map(|(socket, tail)| (*socket, tail))
    }

    /// The bytes to keep.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.series.len() * 48);
        out.push(FORMAT);
        for (socket, tail) in &self.series {
            out.push(socket.get());
            put_series(&mut out, tail);
        }
        out
    }

    /// The tail that was kept as `bytes`; empty bytes are an empty tail.
    /// `None` where they are damaged or of a newer format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut tail = Self::default();
        if bytes.is_empty() {
            return Some(tail);
        }
        if reader.byte()? != FORMAT {
            return None;
        }
        while !reader.rest().is_empty() {
            let socket = SocketId::parse(reader.byte()?.into()).ok()?;
            tail.series.push((socket, read_series(&mut reader)?));
        }
        tail.series.is_sorted_by_key(|it| it.0).then_some(tail)
    }
}

fn put_series(out: &mut Vec<u8>, tail: &SeriesTail) {
    let (newest, context) = tail.end.parts();
    let (power, counter) = context.parts();
    let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
    out.push(
        flag(newest.is_some(), HAS_NEWEST)
            | flag(power.is_some(), HAS_POWER)
            | flag(counter.is_some(), HAS_COUNTER),
    );
    let newest = newest.unwrap_or(Timestamp::from_millis(0));
    put_signed(out, newest.as_millis());
    if let Some((ts, dw)) = power {
        put_signed(out, before(newest, ts));
        put_signed(out, dw.into());
    }
    if let Some(Reading { ts, dwh }) = counter {
        put_signed(out, before(newest, ts));
        put_signed(out, dwh);
    }
    let pending = tail.pending.as_slice();
    put(out, pending.len() as u64);
    for at in pending {
        put_signed(out, before(minute_start(newest), at.start) / MINUTE_MS);
        put_bucket(out, &at.bucket);
    }
}

fn read_series(reader: &mut Reader<'_>) -> Option<SeriesTail> {
    let flags = reader.byte()?;
    let newest = Timestamp::from_millis(reader.signed()?);
    let power = match flags & HAS_POWER {
        0 => None,
        _ => Some((back(newest, reader.signed()?)?, reader.i32()?)),
    };
    let counter = match flags & HAS_COUNTER {
        0 => None,
        _ => Some(Reading {
            ts: back(newest, reader.signed()?)?,
            dwh: reader.signed()?,
        }),
    };
    let mut pending = Vec::new();
    for _ in 0..reader.unsigned()? {
        let minutes = reader.signed()?;
        let start = back(minute_start(newest), minutes.checked_mul(MINUTE_MS)?)?;
        let bucket = read_bucket(reader)?;
        pending.push(BucketAt { start, bucket });
    }
    let newest = (flags & HAS_NEWEST != 0).then_some(newest);
    let context = Context::from_parts(power, counter);
    Some(SeriesTail {
        end: Series::from_parts(newest, context),
        pending: Minutes::from_sorted(pending)?,
    })
}

/// How long `ts` is before `newest`, ms.
const fn before(newest: Timestamp, ts: Timestamp) -> i64 {
    newest.as_millis().wrapping_sub(ts.as_millis())
}

fn back(newest: Timestamp, ms: i64) -> Option<Timestamp> {
    let ms = newest.as_millis().checked_sub(ms)?;
    Some(Timestamp::from_millis(ms))
}

/// Most sums of a bucket are zero: a mask says which are not.
fn put_bucket(out: &mut Vec<u8>, bucket: &Bucket) {
    let sums = sums(bucket);
    let mut mask = 0;
    for (bit, sum) in sums.iter().enumerate() {
        mask |= u64::from(*sum != 0) << bit;
    }
    let extremes = [bucket.power_min_dw, bucket.power_max_dw];
    for (bit, extreme) in extremes.iter().enumerate() {
        mask |= u64::from(extreme.is_some()) << (sums.len() + bit);
    }
    put(out, mask);
    let extremes = extremes.into_iter().flatten().map(i64::from);
    for value in sums.into_iter().filter(|it| *it != 0).chain(extremes) {
        put_signed(out, value);
    }
}

fn read_bucket(reader: &mut Reader<'_>) -> Option<Bucket> {
    let mask = reader.unsigned()?;
    let mut sums = [0; 9];
    for (bit, sum) in sums.iter_mut().enumerate() {
        if mask & (1 << bit) != 0 {
            *sum = reader.signed()?;
        }
    }
    let mut extremes = [None; 2];
    for (bit, extreme) in extremes.iter_mut().enumerate() {
        if mask & (1 << (sums.len() + bit)) != 0 {
            *extreme = Some(reader.i32()?);
        }
    }
    let [count, covered_ms, power_dwms, energy @ ..] = sums;
    let [
        metered,
        bridged,
        reset,
        rolled_back,
        implausible,
        integrated,
    ] = energy;
    Some(Bucket {
        count,
        covered_ms,
        power_dwms,
        power_min_dw: extremes[0],
        power_max_dw: extremes[1],
        energy: Energy {
            metered_dwh: metered,
            bridged_dwh: bridged,
            reset_dwh: reset,
            rolled_back_dwh: rolled_back,
            implausible_dwh: implausible,
            integrated_dwms: integrated,
        },
    })
}

const fn sums(bucket: &Bucket) -> [i64; 9] {
    let it = &bucket.energy;
    [
        bucket.count,
        bucket.covered_ms,
        bucket.power_dwms,
        it.metered_dwh,
        it.bridged_dwh,
        it.reset_dwh,
        it.rolled_back_dwh,
        it.implausible_dwh,
        it.integrated_dwms,
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rollup::SeriesRows;
    use crate::sample::{Sample, Values};

    #[derive(Debug, Default)]
    struct Rows(Vec<Sample>);

    impl SeriesRows for Rows {
        type Error = std::convert::Infallible;

        fn newest(&mut self) -> Result<Option<Timestamp>, Self::Error> {
            Ok(self.0.last().map(|it| it.ts))
        }

        fn before(&mut self, ts: Timestamp) -> Result<Context, Self::Error> {
            Context::recall(self.0.iter().rev().filter(|it| it.ts < ts).copied().map(Ok))
        }

        fn from(&mut self, ts: Timestamp, limit: usize) -> Result<Vec<Sample>, Self::Error> {
            let later = self.0.iter().filter(|it| it.ts >= ts);
            Ok(later.take(limit).copied().collect())
        }
    }

    fn samples() -> impl Strategy<Value = Vec<(i64, Option<i32>, Option<i64>)>> {
        let one = (0..7_200_000_i64, any::<Option<i32>>(), any::<Option<i64>>());
        proptest::collection::vec(one, 0..40)
    }

    proptest! {
        #[test]
        fn a_tail_comes_back_as_it_was(
            sockets in proptest::collection::vec((0..=32_u64, samples()), 0..6),
            start in -1_i64..4_000_000_000_000,
        ) {
            let mut tail = Tail::default();
            for (socket, mut samples) in sockets {
                let socket = SocketId::parse(socket).unwrap();
                samples.sort_by_key(|it| it.0);
                let samples: Vec<Sample> = samples
                    .into_iter()
                    .map(|(ms, power_dw, energy_dwh)| Sample {
                        socket,
                        ts: Timestamp::from_millis(start + ms),
                        values: Values { power_dw, energy_dwh, ..Values::default() },
                    })
                    .collect();
                let mut series = SeriesTail::default();
                series.end.absorb(&samples, &mut Rows::default(), &mut series.pending).unwrap();
                tail.set(socket, series);
            }
            prop_assert_eq!(Tail::decode(&tail.encode()), Some(tail));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Tail::decode(&bytes);
            let _ = Tail::decode(&[&[FORMAT, 0], &bytes[..]].concat());
        }
    }

    #[test]
    fn complete_minutes_leave_and_the_newest_stays() {
        let mut series = SeriesTail::default();
        let samples: Vec<Sample> = (0..20)
            .map(|n| Sample {
                socket: SocketId::STRIP,
                ts: Timestamp::from_millis(n * 10_000),
                values: Values {
                    power_dw: Some(10),
                    ..Values::default()
                },
            })
            .collect();
        series
            .end
            .absorb(&samples, &mut Rows::default(), &mut series.pending)
            .unwrap();
        assert_eq!(series.take_complete().len(), 3);
        assert_eq!(series.take_complete(), []);
        let left: Vec<i64> = series
            .pending
            .as_slice()
            .iter()
            .map(|at| at.bucket.count)
            .collect();
        assert_eq!(left, [2]);
    }
}
