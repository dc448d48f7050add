//! What a strip says: its status, its will, its events and its samples, as
//! bodies of the device contract.

use dormouse_core::ids::SocketId;
use dormouse_core::topic::Channel;
use dormouse_core::wire::{
    EventBody, Measurements, SampleBody, SocketSampleBody, SocketStatusBody, StatusBody,
};
use rand::Rng as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Outgoing, Strip};
use crate::clock::Now;
use crate::random::{Stream, stream};
use crate::round::{decimals, from_ms};

/// One reading, with the time at which it was taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    measured_ms: u64,
    pub(super) body: SampleBody,
}

impl Strip {
    /// Begins a new connection and returns the will that goes with it.
    pub(crate) fn begin_connection(&mut self) -> Vec<u8> {
        self.conn = self.conn.saturating_add(1);
        encode(&StatusBody {
            online: false,
            boot: Some(self.boot),
            conn: Some(self.conn),
            ..StatusBody::default()
        })
    }

    /// What a strip says of itself once it is connected.
    pub(crate) fn status(&mut self, now: Now) -> Outgoing {
        let uptime_ms = now.elapsed_ms.saturating_sub(self.booted_ms);
        let rssi_dbm = -58 - self.rng.random_range(0..14_i32);
        let address = self.seed_bytes();
        let body = StatusBody {
            v: Some(1),
            online: true,
            boot: Some(self.boot),
            conn: Some(self.conn),
            seq: Some(self.next_seq()),
            firmware: Some(format!("sim-{}", env!("CARGO_PKG_VERSION"))),
            ip: Some(format!("10.{}.{}.{}", address[0], address[1], address[2])),
            mac: Some(format!(
                "02:D0:{:02X}:{:02X}:{:02X}:{:02X}",
                address[0], address[1], address[2], address[3]
            )),
            rssi_dbm: Some(rssi_dbm),
            uptime_s: Some(uptime_ms / 1_000),
            period_s: Some(from_ms(self.build.period_ms) / 1_000.0),
            sockets: self
                .sockets
                .iter()
                .map(|socket| SocketStatusBody {
                    socket_id: socket.id,
                    on: socket.on,
                })
                .collect(),
        };
        Outgoing {
            channel: Channel::Status,
            payload: encode(&body),
        }
    }

    /// The event that tells of a start.
    pub(crate) fn boot_event(&mut self, now: Now) -> Outgoing {
        self.event("boot", SocketId::STRIP, json!({"cause": "power-on"}), now)
    }

    /// Measures everything at `now`, and reports an overload where there is one.
    pub(crate) fn measure(&mut self, now: Now) -> (Reading, Vec<Outgoing>) {
        self.step(now);
        let (watts, power_factor) = self.total();
        let reports = self.guard(watts, now);
        self.sample_seq = self.sample_seq.saturating_add(1);
        let volts = self.volts;
        let body = SampleBody {
            ts: self.own_unix_ms(now),
            age_ms: None,
            seq: Some(self.sample_seq),
            boot: Some(self.boot),
            totals: measurements(watts, volts, power_factor, self.energy_wh),
            sockets: self
                .sockets
                .iter()
                .map(|socket| SocketSampleBody {
                    socket_id: socket.id,
                    measurements: Measurements {
                        power_w: Some(decimals(socket.load.watts, 1)),
                        energy_wh: Some(decimals(socket.energy_wh, 1)),
                        ..Measurements::default()
                    },
                })
                .collect(),
        };
        (
            Reading {
                measured_ms: now.elapsed_ms,
                body,
            },
            reports,
        )
    }

    pub(super) fn event(
        &mut self,
        kind: &str,
        socket_id: SocketId,
        data: Value,
        now: Now,
    ) -> Outgoing {
        let body = EventBody {
            ts: self.own_unix_ms(now),
            age_ms: None,
            seq: Some(self.next_seq()),
            boot: Some(self.boot),
            kind: kind.to_owned(),
            socket_id,
            data,
        };
        Outgoing {
            channel: Channel::Event,
            payload: encode(&body),
        }
    }

    fn seed_bytes(&self) -> [u8; 8] {
        stream(self.build.seed, self.build.id.as_str(), Stream::Backoff)
            .random::<u64>()
            .to_be_bytes()
    }
}

/// Encodes readings for one telemetry message: one as an object, more as an
/// array, each with its age where the strip has no clock.
pub(crate) fn telemetry(readings: &[Reading], now: Now) -> Vec<u8> {
    let [only] = readings else {
        let bodies: Vec<SampleBody> = readings
            .iter()
            .map(|reading| {
                let mut body = reading.body.clone();
                if body.ts.is_none() {
                    body.age_ms = Some(now.elapsed_ms.saturating_sub(reading.measured_ms));
                }
                body
            })
            .collect();
        return encode(&bodies);
    };
    encode(&only.body)
}

fn measurements(watts: f64, volts: f64, power_factor: f64, energy_wh: f64) -> Measurements {
    Measurements {
        power_w: Some(decimals(watts, 1)),
        voltage_v: Some(decimals(volts, 1)),
        current_a: Some(decimals(watts / (volts * power_factor.max(0.05)), 3)),
        energy_wh: Some(decimals(energy_wh, 1)),
        power_factor: Some(decimals(power_factor, 2)),
    }
}

pub(super) fn encode(body: &impl Serialize) -> Vec<u8> {
    // The bodies have only string keys and finite numbers, which cannot fail.
    serde_json::to_vec(body).unwrap_or_default()
}
