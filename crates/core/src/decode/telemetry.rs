//! One reading of a meter, or an array of them.

use smallvec::SmallVec;

use super::{ARRAY_MAX, DeviceTime, Reason, Refusal, Sequence, parse};
use crate::clock::Timestamp;
use crate::ids::{SOCKET_MAX, SocketId};
use crate::sample::Values;
use crate::wire::{Measurements, SampleBody, SocketSampleBody};

/// One reading of the strip and its sockets at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When, as the device tells it.
    pub time: DeviceTime,
    /// Where it stands among the device's telemetry.
    pub sequence: Option<Sequence>,
    /// What was measured: the strip's totals as socket 0, then single sockets.
    /// Never empty.
    pub values: SmallVec<[(SocketId, Values); 3]>,
}

/// Decodes one sample or an array of at most [`ARRAY_MAX`]; one bad item
/// refuses the whole, so that a message is taken or not.
///
/// # Errors
/// When the body breaks a rule.
pub fn decode_telemetry(
    body: &[u8],
    received_at: Timestamp,
) -> Result<SmallVec<[Reading; 1]>, Refusal> {
    if body.trim_ascii_start().first() != Some(&b'[') {
        let sample = parse::<SampleBody>(body)?;
        let mut reading = reading(&sample, received_at)?;
        if reading.time == DeviceTime::Aged(received_at) {
            // "Just now" is no more than saying nothing, and must not make
            // two readings of one millisecond collide.
            reading.time = DeviceTime::Unknown;
        }
        let mut readings = SmallVec::new();
        readings.push(reading);
        return Ok(readings);
    }
    let samples = parse::<Vec<SampleBody>>(body)?;
    if !(1..=ARRAY_MAX).contains(&samples.len()) {
        return Err(Refusal::new(
            Reason::ArrayLength,
            "body",
            "an array holds 1 to 100 samples",
        ));
    }
    samples
        .into_iter()
        .enumerate()
        .map(|(index, sample)| {
            if sample.ts.is_none() && sample.age_ms.is_none() {
                let rule = "items of an array need ts or ageMs";
                return Err(Refusal::new(Reason::TimeMissing, "ts", rule).in_item(index));
            }
            reading(&sample, received_at).map_err(|refusal| refusal.in_item(index))
        })
        .collect()
}

fn reading(sample: &SampleBody, received_at: Timestamp) -> Result<Reading, Refusal> {
    let time = DeviceTime::parse(sample.ts, sample.age_ms, received_at)?;
    let mut values = SmallVec::new();
    let totals = scaled(&sample.totals).map_err(Absurd::of_strip)?;
    if totals != Values::default() {
        values.push((SocketId::STRIP, totals));
    }
    let mut seen = 0_u64;
    for (index, socket) in sample.sockets.iter().enumerate() {
        let scaled = socket_values(socket, index, &mut seen)?;
        if scaled != Values::default() {
            values.push((socket.socket_id, scaled));
        }
    }
    if values.is_empty() {
        return Err(Refusal::new(
            Reason::NoMeasurement,
            "body",
            "no measurement in it, such as powerW",
        ));
    }
    Ok(Reading {
        time,
        sequence: Sequence::of(sample.boot, sample.seq),
        values,
    })
}

fn socket_values(
    socket: &SocketSampleBody,
    index: usize,
    seen: &mut u64,
) -> Result<Values, Refusal> {
    if socket.socket_id.is_strip() {
        return Err(Refusal::new(
            Reason::OutOfRange,
            format!("sockets[{index}].socketId"),
            format!("1 to {SOCKET_MAX}; the strip's totals stand beside sockets, not in it"),
        ));
    }
    let bit = 1 << socket.socket_id.get();
    if *seen & bit != 0 {
        return Err(Refusal::new(
            Reason::DuplicateSocket,
            format!("sockets[{index}].socketId"),
            "the same socket twice in one sample",
        ));
    }
    *seen |= bit;
    scaled(&socket.measurements).map_err(|absurd| absurd.of_socket(index))
}

/// A measurement outside what a meter can show.
struct Absurd {
    field: &'static str,
    rule: &'static str,
}

impl Absurd {
    fn of_strip(self) -> Refusal {
        Refusal::new(Reason::OutOfRange, self.field, self.rule)
    }

    fn of_socket(self, index: usize) -> Refusal {
        let field = format!("sockets[{index}].{}", self.field);
        Refusal::new(Reason::OutOfRange, field, self.rule)
    }
}

/// Checks what was measured and scales it to integers.
fn scaled(measured: &Measurements) -> Result<Values, Absurd> {
    Ok(Values {
        power_dw: scale(measured.power_w, 10.0, -1e5..=1e5).ok_or(Absurd {
            field: "powerW",
            rule: "between -100000 and 100000",
        })?,
        voltage_dv: scale(measured.voltage_v, 10.0, 0.0..=1e3).ok_or(Absurd {
            field: "voltageV",
            rule: "between 0 and 1000",
        })?,
        current_ma: scale(measured.current_a, 1e3, -1e3..=1e3).ok_or(Absurd {
            field: "currentA",
            rule: "between -1000 and 1000",
        })?,
        energy_dwh: scale_wide(measured.energy_wh, 10.0, 0.0..=1e12).ok_or(Absurd {
            field: "energyWh",
            rule: "between 0 and 1000000000000",
        })?,
        power_factor_centi: scale(measured.power_factor, 100.0, -1.0..=1.0).ok_or(Absurd {
            field: "powerFactor",
            rule: "between -1 and 1",
        })?,
    })
}

type Bounds = std::ops::RangeInclusive<f64>;

/// `Some(None)` where nothing was measured, `None` where it is out of bounds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "within bounds that fit 32 bits"
)]
fn scale(value: Option<f64>, factor: f64, bounds: Bounds) -> Option<Option<i32>> {
    match value {
        None => Some(None),
        Some(value) if bounds.contains(&value) => Some(Some((value * factor).round() as i32)),
        Some(_) => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "within bounds that fit 64 bits"
)]
fn scale_wide(value: Option<f64>, factor: f64, bounds: Bounds) -> Option<Option<i64>> {
    match value {
        None => Some(None),
        Some(value) if bounds.contains(&value) => Some(Some((value * factor).round() as i64)),
        Some(_) => None,
    }
}
