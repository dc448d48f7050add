//! Rows of samples and buckets as one array per column: thousands of them
//! travel as the parameters, or the answer, of one statement.

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::{DeviceKey, SocketId};
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{EARLIEST, LATEST, SeriesId};
use dormouse_core::rollup::{Bucket, BucketAt, Energy};
use dormouse_core::sample::{Sample, Values};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::convert::{Moment, key_sql};
use super::super::pool::get;

/// Samples to write.
#[derive(Debug, Default)]
pub(super) struct SampleColumns {
    device: Vec<i32>,
    socket: Vec<i16>,
    ts: Vec<Moment>,
    power_dw: Vec<Option<i32>>,
    voltage_dv: Vec<Option<i16>>,
    current_ma: Vec<Option<i32>>,
    energy_dwh: Vec<Option<i64>>,
    power_factor_centi: Vec<Option<i16>>,
}

/// What a statement gives for [`SampleColumns`], as `SELECT` list of `s`.
pub(super) const SAMPLE_ARRAYS: &str = "array_agg(s.ts), array_agg(s.power_dw), \
    array_agg(s.voltage_dv), array_agg(s.current_ma), array_agg(s.energy_dwh), \
    array_agg(s.power_factor_centi)";

impl SampleColumns {
    pub(super) fn push(&mut self, device: DeviceKey, sample: &Sample) {
        let it = &sample.values;
        self.device.push(key_sql(device));
        self.socket.push(sample.socket.get().into());
        self.ts.push(Moment(sample.ts));
        self.power_dw.push(it.power_dw);
        self.voltage_dv.push(it.voltage_dv.map(narrow));
        self.current_ma.push(it.current_ma);
        self.energy_dwh.push(it.energy_dwh);
        self.power_factor_centi
            .push(it.power_factor_centi.map(narrow));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// When they were measured.
    pub(super) fn times(&self) -> impl Iterator<Item = Timestamp> {
        self.ts.iter().map(|Moment(ts)| *ts)
    }

    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 8] {
        [
            &self.device,
            &self.socket,
            &self.ts,
            &self.power_dw,
            &self.voltage_dv,
            &self.current_ma,
            &self.energy_dwh,
            &self.power_factor_centi,
        ]
    }
}

/// What decoded messages hold fits; anything else is kept as the nearest.
fn narrow(value: i32) -> i16 {
    let near = value.clamp(i16::MIN.into(), i16::MAX.into());
    i16::try_from(near).unwrap_or_default()
}

/// The samples of one series from [`SAMPLE_ARRAYS`], from column `from` on.
pub(super) fn samples(row: &Row, from: usize, socket: SocketId) -> Result<Vec<Sample>, PortError> {
    let Some(times) = get::<_, Option<Vec<Moment>>>(row, from)? else {
        return Ok(Vec::new());
    };
    let power_dw: Vec<Option<i32>> = get(row, from + 1)?;
    let voltage_dv: Vec<Option<i16>> = get(row, from + 2)?;
    let current_ma: Vec<Option<i32>> = get(row, from + 3)?;
    let energy_dwh: Vec<Option<i64>> = get(row, from + 4)?;
    let power_factor_centi: Vec<Option<i16>> = get(row, from + 5)?;
    let one = |(at, Moment(ts)): (usize, Moment)| Sample {
        socket,
        ts,
        values: Values {
            power_dw: power_dw[at],
            voltage_dv: voltage_dv[at].map(i32::from),
            current_ma: current_ma[at],
            energy_dwh: energy_dwh[at],
            power_factor_centi: power_factor_centi[at].map(i32::from),
        },
    };
    Ok(times.into_iter().enumerate().map(one).collect())
}

/// Differences of buckets to write, without their keys' last part, which
/// depends on the level.
#[derive(Debug, Default)]
pub(super) struct BucketColumns {
    pub(super) device: Vec<i32>,
    pub(super) socket: Vec<i16>,
    pub(super) start: Vec<Timestamp>,
    count: Vec<i32>,
    covered_ms: Vec<i32>,
    power_min_dw: Vec<Option<i32>>,
    power_max_dw: Vec<Option<i32>>,
    /// Power and energy by cause, in the tables' order.
    sums: [Vec<i64>; 7],
}

/// The columns behind the key of every rollup table.
pub(super) const BUCKET_COLUMNS: &str = "count, covered_ms, power_min_dw, power_max_dw, \
    power_dwms, metered_dwh, bridged_dwh, reset_dwh, rolled_back_dwh, implausible_dwh, \
    integrated_dwms";

/// The same as arrays of `b`.
pub(super) const BUCKET_ARRAYS: &str = "array_agg(b.count), array_agg(b.covered_ms), \
    array_agg(b.power_min_dw), array_agg(b.power_max_dw), array_agg(b.power_dwms), \
    array_agg(b.metered_dwh), array_agg(b.bridged_dwh), array_agg(b.reset_dwh), \
    array_agg(b.rolled_back_dwh), array_agg(b.implausible_dwh), array_agg(b.integrated_dwms)";

impl BucketColumns {
    pub(super) fn push(&mut self, series: SeriesId, at: &BucketAt) {
        let it = &at.bucket;
        self.device.push(key_sql(series.device));
        self.socket.push(series.socket.get().into());
        self.start.push(at.start);
        self.count.push(clip(it.count));
        self.covered_ms.push(clip(it.covered_ms));
        self.power_min_dw.push(it.power_min_dw);
        self.power_max_dw.push(it.power_max_dw);
        for (column, sum) in self.sums.iter_mut().zip([
            it.power_dwms,
            it.energy.metered_dwh,
            it.energy.bridged_dwh,
            it.energy.reset_dwh,
            it.energy.rolled_back_dwh,
            it.energy.implausible_dwh,
            it.energy.integrated_dwms,
        ]) {
            column.push(sum);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start.is_empty()
    }

    /// The values of [`BUCKET_COLUMNS`].
    pub(super) fn values(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        let first: [&(dyn ToSql + Sync); 4] = [
            &self.count,
            &self.covered_ms,
            &self.power_min_dw,
            &self.power_max_dw,
        ];
        let sums = self.sums.iter().map(|it| it as &(dyn ToSql + Sync));
        first.into_iter().chain(sums)
    }
}

/// A day has fewer milliseconds than this has room for.
fn clip(value: i64) -> i32 {
    let near = value.clamp(i32::MIN.into(), i32::MAX.into());
    i32::try_from(near).unwrap_or_default()
}

/// The buckets of [`BUCKET_ARRAYS`], from column `from` on.
pub(super) fn buckets(row: &Row, from: usize) -> Result<Vec<Bucket>, PortError> {
    let Some(count) = get::<_, Option<Vec<i32>>>(row, from)? else {
        return Ok(Vec::new());
    };
    let covered_ms: Vec<i32> = get(row, from + 1)?;
    let power_min_dw: Vec<Option<i32>> = get(row, from + 2)?;
    let power_max_dw: Vec<Option<i32>> = get(row, from + 3)?;
    let mut sums: [Vec<i64>; 7] = Default::default();
    for (offset, column) in sums.iter_mut().enumerate() {
        *column = get(row, from + 4 + offset)?;
    }
    let [
        power,
        metered,
        bridged,
        reset,
        rolled_back,
        implausible,
        integrated,
    ] = sums;
    let one = |(at, count): (usize, i32)| Bucket {
        count: count.into(),
        covered_ms: covered_ms[at].into(),
        power_dwms: power[at],
        power_min_dw: power_min_dw[at],
        power_max_dw: power_max_dw[at],
        energy: Energy {
            metered_dwh: metered[at],
            bridged_dwh: bridged[at],
            reset_dwh: reset[at],
            rolled_back_dwh: rolled_back[at],
            implausible_dwh: implausible[at],
            integrated_dwms: integrated[at],
        },
    };
    Ok(count.into_iter().enumerate().map(one).collect())
}

/// A bound of a query as a moment that every engine knows.
pub(super) fn bound(ts: Timestamp) -> Moment {
    Moment(ts.clamp(EARLIEST, LATEST))
}

/// A socket from its column.
pub(super) fn socket(number: i16) -> Result<SocketId, PortError> {
    let known = u64::try_from(number).ok().map(SocketId::parse);
    known
        .and_then(Result::ok)
        .ok_or_else(|| PortError::Corrupt(format!("no such socket: {number}")))
}
