//! Readings as watchers and the API show them: real units, the wire's names.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::ids::SocketId;
use crate::ports::hot::Latest;
use crate::sample::{Sample, Values};

/// One reading of a strip and its sockets; what the meter lacks is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SampleMessage {
    /// When it was measured, unix ms.
    #[cfg_attr(feature = "schema", schema(value_type = i64))]
    pub ts: Timestamp,
    /// The strip's totals.
    #[serde(flatten)]
    pub totals: ReadingMessage,
    /// The sockets that have readings of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketSampleMessage>,
}

/// One socket's part of a reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SocketSampleMessage {
    /// Which socket.
    #[cfg_attr(feature = "schema", schema(value_type = u8))]
    pub socket_id: SocketId,
    /// What it measured.
    #[serde(flatten)]
    pub reading: ReadingMessage,
}

/// What a meter measured, in real units.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReadingMessage {
    /// Active power, W.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Voltage, V.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voltage_v: Option<f64>,
    /// Current, A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_a: Option<f64>,
    /// The meter's counter, Wh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_wh: Option<f64>,
    /// Power factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_factor: Option<f64>,
}

impl From<Values> for ReadingMessage {
    fn from(values: Values) -> Self {
        Self {
            power_w: values.power_dw.map(|v| f64::from(v) / 10.0),
            voltage_v: values.voltage_dv.map(|v| f64::from(v) / 10.0),
            current_a: values.current_ma.map(|v| f64::from(v) / 1_000.0),
            energy_wh: values.energy_dwh.map(tenths),
            power_factor: values.power_factor_centi.map(|v| f64::from(v) / 100.0),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counters stay far below 2^53 tenths of a watt-hour"
)]
fn tenths(value: i64) -> f64 {
    value as f64 / 10.0
}

/// Joins samples of the same moment into readings; `samples` are in order of
/// their times.
#[must_use]
pub fn sample_messages(samples: &[Sample]) -> Vec<SampleMessage> {
    samples
        .chunk_by(|a, b| a.ts == b.ts)
        .filter_map(|moment| {
            let mut message = SampleMessage {
                ts: moment.first()?.ts,
                totals: ReadingMessage::default(),
                sockets: Vec::new(),
            };
            for sample in moment {
                message.add(sample.socket, sample.values);
            }
            Some(message)
        })
        .collect()
}

/// Joins the newest reading of each socket; `None` where nothing was measured.
#[must_use]
pub fn latest_message(latest: &[Latest]) -> Option<SampleMessage> {
    let mut message = SampleMessage {
        ts: latest.iter().map(|it| it.ts).max()?,
        totals: ReadingMessage::default(),
        sockets: Vec::new(),
    };
    for it in latest {
        message.add(it.socket, it.values);
    }
    Some(message)
}

impl SampleMessage {
    fn add(&mut self, socket: SocketId, values: Values) {
        let reading = ReadingMessage::from(values);
        if socket.is_strip() {
            self.totals = reading;
        } else {
            self.sockets.push(SocketSampleMessage {
                socket_id: socket,
                reading,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(socket: u64, ts: i64, power_dw: i32) -> Sample {
        Sample {
            socket: SocketId::parse(socket).unwrap(),
            ts: Timestamp::from_millis(ts),
            values: Values {
                power_dw: Some(power_dw),
                ..Values::default()
            },
        }
    }

    #[test]
    fn samples_of_one_moment_become_one_reading() {
        let readings =
            sample_messages(&[sample(0, 5, 2_053), sample(1, 5, 1_801), sample(0, 9, 1)]);
        assert_eq!(
            serde_json::to_value(readings).unwrap(),
            json!([
                {"ts": 5, "powerW": 205.3, "sockets": [{"socketId": 1, "powerW": 180.1}]},
                {"ts": 9, "powerW": 0.1},
            ])
        );
    }
}
