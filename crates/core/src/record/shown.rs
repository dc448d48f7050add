//! Messages as JSON, for people who look at single ones.

use serde_json::{Value, json};

use super::{Entry, Readings, Record, Telemetry};
use crate::clock::Timestamp;
use crate::decode::{DeviceTime, Reading, Sequence};
use crate::ids::SocketId;
use crate::live::ReadingMessage;
use crate::sample::Values;

impl Entry {
    /// The message as JSON, with its measurements in real units.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Record(Record::Telemetry(telemetry)) => of_telemetry(telemetry),
            Self::Record(Record::Control(control)) => {
                json!({ "receivedAt": time(control.at), "message": control.body })
            }
            Self::Readings(readings) => of_readings(readings),
        }
    }
}

fn of_telemetry(telemetry: &Telemetry) -> Value {
    let samples = telemetry.samples.iter();
    let samples = samples.map(|it| measured(it.socket, it.values, Some(it.ts)));
    json!({
        "places": telemetry.sequences.iter().map(place).collect::<Value>(),
        "samples": samples.collect::<Value>(),
    })
}

fn of_readings(readings: &Readings) -> Value {
    json!({
        "receivedAt": time(readings.at),
        "readings": readings.readings.iter().map(of_reading).collect::<Value>(),
    })
}

fn of_reading(reading: &Reading) -> Value {
    let ts = match reading.time {
        DeviceTime::At(ts) | DeviceTime::Aged(ts) => Some(ts),
        DeviceTime::Unknown => None,
    };
    let values = reading.values.iter();
    json!({
        "place": reading.sequence.as_ref().map(place),
        "samples": values.map(|(socket, it)| measured(*socket, *it, ts)).collect::<Value>(),
    })
}

fn measured(socket: SocketId, values: Values, ts: Option<Timestamp>) -> Value {
    let mut shown = json!(ReadingMessage::from(values));
    shown["socketId"] = socket.get().into();
    shown["ts"] = ts.map_or(Value::Null, |ts| time(ts).into());
    shown
}

fn place(sequence: &Sequence) -> Value {
    json!({ "boot": sequence.boot, "seq": sequence.seq })
}

fn time(at: Timestamp) -> String {
    at.to_rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode_telemetry;
    use crate::ids::DeviceKey;

    #[test]
    fn a_person_reads_what_a_message_says() {
        let at = Timestamp::from_millis(1_767_323_045_000);
        let body = br#"{"boot":3,"seq":7,"powerW":20.5,"sockets":[{"socketId":1,"currentA":0.1}]}"#;
        let readings = decode_telemetry(body, at).unwrap();
        let entry = Entry::Readings(Readings {
            device: DeviceKey(1),
            at,
            readings,
        });
        assert_eq!(
            entry.to_json(),
            json!({
                "receivedAt": "2026-01-02T03:04:05.000Z",
                "readings": [{
                    "place": { "boot": 3, "seq": 7 },
                    "samples": [
                        { "socketId": 0, "ts": null, "powerW": 20.5 },
                        { "socketId": 1, "ts": null, "currentA": 0.1 },
                    ],
                }],
            })
        );
    }
}
