//! A telemetry packet built once per device; for each sample only its digits
//! are overwritten.

use crate::mqtt::Version;

/// Sample numbers begin here, so that they always have ten digits.
const FIRST_SEQ: u32 = 1_000_000_000;
/// Counters begin here, so that they always have eight digits, 0.1 Wh.
const FIRST_ENERGY_DWH: i64 = 10_000_000;
/// The mean power that the counter runs at, W.
const MEAN_W: i64 = 500;

/// What a template is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) topic: &'a str,
    pub(crate) version: Version,
    /// The body is padded to this size, bytes; more where it needs more.
    pub(crate) payload_bytes: usize,
    /// How many sockets report beside the strip itself.
    pub(crate) sockets: u8,
    pub(crate) boot: u32,
    /// The moment at which the energy counter begins, unix ms.
    pub(crate) begin_ms: i64,
}

/// A packet whose digits can be overwritten.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    id_at: usize,
    ts_at: usize,
    seq_at: usize,
    power_at: usize,
    energy_at: usize,
    payload_bytes: usize,
    begin_ms: i64,
}

impl Template {
    pub(crate) fn new(shape: Shape<'_>) -> Self {
        let payload = payload(&shape);
        let properties: &[u8] = match shape.version {
            Version::V3 => &[],
            Version::V5 => &[0],
        };
        let mut bytes = vec![0x32];
        let topic = shape.topic.as_bytes();
        push_length(
            &mut bytes,
            2 + topic.len() + 2 + properties.len() + payload.len(),
        );
        bytes.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(topic);
        let id_at = bytes.len();
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(properties);
        let payload_at = bytes.len();
        bytes.extend_from_slice(&payload);
        let after = |name: &str| {
            let name = name.as_bytes();
            let found = payload
                .windows(name.len())
                .position(|window| window == name);
            payload_at + found.unwrap_or(0) + name.len()
        };
        Self {
            id_at,
            ts_at: after("\"ts\":"),
            seq_at: after("\"seq\":"),
            power_at: after("\"powerW\":"),
            energy_at: after("\"energyWh\":"),
            payload_bytes: payload.len(),
            begin_ms: shape.begin_ms,
            bytes,
        }
    }

    /// The size of the body, bytes.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Appends the packet for sample `number`, measured at `ts_ms`.
    pub(crate) fn append(&mut self, id: u16, number: u32, ts_ms: i64, out: &mut Vec<u8>) {
        self.bytes[self.id_at..self.id_at + 2].copy_from_slice(&id.to_be_bytes());
        digits(
            &mut self.bytes[self.ts_at..self.ts_at + 13],
            ts_ms.unsigned_abs(),
        );
        digits(
            &mut self.bytes[self.seq_at..self.seq_at + 10],
            u64::from(seq(number)),
        );
        let power_dw = u64::from(1_000 + number.wrapping_mul(37) % 9_000);
        decimal(&mut self.bytes[self.power_at..self.power_at + 5], power_dw);
        let run_ms = ts_ms.saturating_sub(self.begin_ms);
        let energy_dwh = FIRST_ENERGY_DWH + run_ms.saturating_mul(MEAN_W) / 360_000;
        decimal(
            &mut self.bytes[self.energy_at..self.energy_at + 9],
            energy_dwh.unsigned_abs(),
        );
        out.extend_from_slice(&self.bytes);
    }
}

/// The `seq` that sample `number` carries.
pub(crate) fn seq(number: u32) -> u32 {
    FIRST_SEQ.saturating_add(number)
}

fn payload(shape: &Shape<'_>) -> Vec<u8> {
    let mut text = format!(
        "{{\"ts\":1000000000000,\"seq\":{FIRST_SEQ},\"boot\":{},\"powerW\":100.0,\"voltageV\":229.8,\
         \"currentA\":0.955,\"energyWh\":1000000.0,\"powerFactor\":0.94",
        shape.boot
    );
    if shape.sockets > 0 {
        let sockets: Vec<_> = (1..=shape.sockets)
            .map(|socket| format!("{{\"socketId\":{socket},\"powerW\":{socket}0.5}}"))
            .collect();
        text.push_str(&format!(",\"sockets\":[{}]", sockets.join(",")));
    }
    let pad = shape.payload_bytes.saturating_sub(text.len() + 1);
    if pad >= 9 {
        text.push_str(&format!(",\"pad\":\"{}\"", "x".repeat(pad - 9)));
    }
    text.push('}');
    text.into_bytes()
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length % 128).unwrap_or(0);
        length /= 128;
        if length == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

/// Overwrites `place` with `value`, with leading zeros.
fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Overwrites `place` with `tenths` as a number with one decimal.
fn decimal(place: &mut [u8], tenths: u64) {
    let whole = place.len().saturating_sub(2);
    digits(&mut place[..whole], tenths / 10);
    digits(&mut place[whole + 1..], tenths % 10);
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use dormouse_core::wire::SampleBody;

    use super::*;
    use crate::mqtt::{Codec, Incoming};

    fn shape(version: Version, sockets: u8) -> Shape<'static> {
        Shape {
            topic: "dorm/bench-00001/telemetry",
            version,
            payload_bytes: 200,
            sockets,
            boot: 9,
            begin_ms: 1_767_323_000_000,
        }
    }

    #[test]
    fn a_patched_packet_is_a_valid_publish_with_the_right_numbers() {
        for version in [Version::V3, Version::V5] {
            let mut template = Template::new(shape(version, 0));
            let mut out = Vec::new();
            template.append(7, 0, 1_767_323_000_000, &mut out);
            template.append(515, 4_321, 1_767_326_600_000, &mut out);
            let mut wire = BytesMut::from(out.as_slice());
            let mut codec = Codec::new(version);
            let mut bodies = Vec::new();
            while let Some(packet) = codec.decode(&mut wire).unwrap() {
                let Incoming::Message {
                    topic,
                    payload,
                    id,
                    retained,
                } = packet
                else {
                    panic!("not a message: {packet:?}");
                };
                assert_eq!(
                    (topic.as_str(), retained),
                    ("dorm/bench-00001/telemetry", false)
                );
                assert_eq!(payload.len(), 200);
                bodies.push((
                    id.unwrap().get(),
                    serde_json::from_slice::<SampleBody>(&payload).unwrap(),
                ));
            }
            let [(7, first), (515, second)] = &bodies[..] else {
                panic!("{bodies:?}");
            };
            assert_eq!(
                (first.ts, first.seq),
                (Some(1_767_323_000_000), Some(1_000_000_000))
            );
            assert_eq!(
                (second.ts, second.seq),
                (Some(1_767_326_600_000), Some(1_000_004_321))
            );
            assert_eq!(first.totals.energy_wh, Some(1_000_000.0));
            assert_eq!(
                second.totals.energy_wh,
                Some(1_000_500.0),
                "an hour at 500 W"
            );
            assert_eq!(
                second.totals.power_w,
                Some(100.0 + f64::from(4_321 * 37 % 9_000) / 10.0)
            );
        }
    }

    #[test]
    fn a_body_that_needs_more_room_takes_it() {
        let template = Template::new(shape(Version::V3, 8));
        assert!(template.payload_bytes() > 200);
        let exact = Template::new(Shape {
            payload_bytes: 1_000,
            ..shape(Version::V3, 8)
        });
        assert_eq!(exact.payload_bytes(), 1_000);
    }
}
