//! Rings and latest readings as Redis has them: short runs are appended, and
//! merged into long ones when there are many.

use std::collections::VecDeque;
use std::fmt;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::{DeviceId, DeviceKey, DeviceKeyMap, SocketId};
use dormouse_core::ports::PortError;
use dormouse_core::ports::hot::{Latest, RING_MS};
use dormouse_core::ring;
use dormouse_core::sample::{Sample, Values};
use redis::{Cmd, RedisWrite as _};

use super::buffers::Put;
use super::writer::Writer;

/// A ring outlives its newest sample's reach a little, ms.
const RING_TTL_MS: i64 = RING_MS + 15 * 60 * 1000;
/// How long the latest readings of a silent device are kept: 35 days, ms.
pub(super) const LATEST_TTL_MS: i64 = 35 * 24 * 60 * 60 * 1000;
/// The most runs in a ring; beyond it the oldest go. Merging keeps far below.
const RUNS_MAX: usize = 4_096;
/// Short runs are merged when there are about this many.
const SHORT_RUNS: u64 = 32;
/// To how many rings one round trip appends.
const RINGS_AT_ONCE: usize = 1_000;
/// How many rings are read and merged in one round trip.
const MERGES_AT_ONCE: usize = 100;
/// Long runs that a ring is taken to have before it was looked at.
const LONG_RUNS: u64 = 10;

/// What is remembered of the rings written here.
#[derive(Debug, Default)]
pub(super) struct Rings {
    /// By device: its name, and from how many runs on they are merged.
    known: DeviceKeyMap<(DeviceId, u64)>,
}

/// What came of one device: its samples, in order of arrival.
type News<'a> = [(DeviceKey, &'a [Sample])];

impl Rings {
    /// Writes `puts`, in order.
    ///
    /// # Errors
    /// When Redis cannot be reached: all may be written again then.
    pub(super) async fn write(
        &mut self,
        writer: &Writer,
        puts: &VecDeque<Put>,
    ) -> Result<(), PortError> {
        let mut forgotten = DeviceKeyMap::default();
        for (at, put) in puts.iter().enumerate() {
            if let Put::Forget(device) = put {
                forgotten.insert(*device, at);
            }
        }
        self.forget(writer, forgotten.keys()).await?;
        let news = puts.iter().enumerate().filter_map(|(at, put)| match put {
            Put::Samples(device, samples) => {
                let is_left = forgotten
                    .get(device)
                    .is_none_or(|forgotten| *forgotten < at);
                is_left.then_some((*device, &**samples))
            }
            Put::Forget(_) => None,
        });
        let mut news: Vec<_> = news.collect();
        // Stable, so that a device's samples stay in the order of their arrival.
        news.sort_by_key(|(device, _)| *device);
        let by_device: Vec<_> = news.chunk_by(|a, b| a.0 == b.0).collect();
        for some in by_device.chunks(RINGS_AT_ONCE) {
            self.append(writer, some).await?;
        }
        Ok(())
    }

    async fn forget(
        &mut self,
        writer: &Writer,
        devices: impl Iterator<Item = &DeviceKey>,
    ) -> Result<(), PortError> {
        let known = devices.filter_map(|key| Some((*key, self.known.get(key)?.0.clone())));
        let known: Vec<_> = known.collect();
        // A name that another device has by now is that one's.
        let commands = known
            .iter()
            .filter(|(key, id)| {
                let now = writer.directory.by_id(id);
                now.is_none_or(|device| device.key == *key)
            })
            .flat_map(|(_, id)| forget(writer, id))
            .collect();
        writer.link.run(commands).await?;
        for (key, _) in known {
            self.known.remove(&key);
        }
        Ok(())
    }

    async fn append(&mut self, writer: &Writer, news: &[&News<'_>]) -> Result<(), PortError> {
        let (mut devices, mut commands) = (Vec::new(), Vec::new());
        for news in news {
            let device = news[0].0;
            let Some(found) = writer.directory.by_key(device) else {
                continue;
            };
            let known = self.known.entry(device);
            let known = known.or_insert_with(|| (found.id.clone(), most(device, LONG_RUNS)));
            commands.push(put(writer, device, &known.0, news));
            devices.push(device);
        }
        let answers = writer.link.run(commands).await?;
        let mut due = Vec::new();
        for (device, answer) in devices.into_iter().zip(answers) {
            let runs = answer
                .ok()
                .and_then(|it| redis::from_redis_value::<u64>(it).ok());
            let known = self.known.get(&device);
            if let (Some(runs), Some((_, most))) = (runs, known)
                && runs >= *most
            {
                due.push(device);
            }
        }
        for some in due.chunks(MERGES_AT_ONCE) {
            self.merge(writer, some).await?;
        }
        Ok(())
    }

    /// Merges the short runs of `devices`.
    async fn merge(&mut self, writer: &Writer, devices: &[DeviceKey]) -> Result<(), PortError> {
        let keys: Vec<_> = devices
            .iter()
            .filter_map(|device| Some((*device, writer.keys.ring(&self.known.get(device)?.0))))
            .collect();
        let ask = |(_, key): &(DeviceKey, String)| {
            let mut command = redis::cmd("LRANGE");
            command.arg(key).arg(0).arg(-1);
            command
        };
        let reads: Vec<_> = keys.iter().map(ask).collect();
        let mut commands = Vec::new();
        for ((device, key), answer) in keys.iter().zip(writer.link.run(reads).await?) {
            let runs = answer.and_then(|runs| Ok(redis::from_redis_value::<Vec<Vec<u8>>>(runs)?));
            let Ok(runs) = runs else { continue };
            let merged = ring::merge(runs.iter().map(Vec::as_slice));
            if let Some((_, before)) = self.known.get_mut(device) {
                *before = most(*device, merged.len() as u64);
            }
            commands.push(replace(writer, key, &runs, &merged));
        }
        // Another node may have been first: then its merger counts.
        writer.link.run(commands).await?;
        Ok(())
    }
}

/// From how many runs on a ring with `long` ones is merged: not all rings at
/// the same moment, though their devices may report in step.
fn most(device: DeviceKey, long: u64) -> u64 {
    long + SHORT_RUNS + u64::from(device.0 % 16)
}

/// Puts `merged` in the place of `runs`.
fn replace(writer: &Writer, key: &str, runs: &[Vec<u8>], merged: &[Vec<u8>]) -> Cmd {
    let same = runs.iter().zip(merged).take_while(|(a, b)| a == b).count();
    let (old, new) = (&runs[same..], &merged[same..]);
    let mut command = writer.scripts.merge.on(&[key]);
    command.arg(RING_TTL_MS).arg(same).arg(old.len());
    for run in old.iter().chain(new) {
        command.arg(run);
    }
    command
}

fn put(writer: &Writer, device: DeviceKey, id: &DeviceId, news: &News<'_>) -> Cmd {
    let keys = [writer.keys.ring(id), writer.keys.latest(id)];
    let mut command = writer.scripts.put.on(&keys);
    command.arg(device.0).arg(RING_TTL_MS).arg(LATEST_TTL_MS);
    let totals = news.iter().flat_map(|(_, samples)| ring::totals(samples));
    command.arg(RUNS_MAX).arg(ring::run(totals.collect()));
    for newest in newest(news) {
        command.arg(newest.socket.get());
        command.write_arg_fmt(Reading(newest.ts, &newest.values));
    }
    command
}

/// The newest sample of each socket; of those with the same time the first.
fn newest<'a>(news: &News<'a>) -> Vec<&'a Sample> {
    let mut newest: Vec<&Sample> = Vec::new();
    for sample in news.iter().flat_map(|(_, samples)| *samples) {
        match newest.iter_mut().find(|it| it.socket == sample.socket) {
            Some(known) if known.ts < sample.ts => *known = sample,
            Some(_) => {}
            None => newest.push(sample),
        }
    }
    newest
}

fn forget(writer: &Writer, id: &DeviceId) -> [Cmd; 4] {
    let keys = &writer.keys;
    [
        keys.ring(id),
        keys.latest(id),
        keys.last_seen(id),
        keys.events(id),
    ]
    .map(|key| {
        let mut command = redis::cmd("UNLINK");
        command.arg(key);
        command
    })
}

/// A reading for people and for [`parse`]: unix ms, 0.1 W, 0.1 V, mA, 0.1 Wh,
/// 0.01; a dash for what was not measured.
struct Reading<'a>(Timestamp, &'a Values);

impl fmt::Display for Reading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ts, values) = self;
        let narrow = |value: Option<i32>| value.map(i64::from);
        write!(f, "{}", ts.as_millis())?;
        [
            narrow(values.power_dw),
            narrow(values.voltage_dv),
            narrow(values.current_ma),
            values.energy_dwh,
            narrow(values.power_factor_centi),
        ]
        .into_iter()
        .try_for_each(|value| match value {
            Some(value) => write!(f, " {value}"),
            None => f.write_str(" -"),
        })
    }
}

/// Reads a field of the latest readings; `None` for what is none.
pub(super) fn parse(socket: &str, reading: &str) -> Option<Latest> {
    let socket = SocketId::parse(socket.parse().ok()?).ok()?;
    let mut columns = reading.split(' ');
    let ts = Timestamp::from_millis(columns.next()?.parse().ok()?);
    let mut next = || match columns.next()? {
        "-" => Some(None),
        number => number.parse::<i64>().ok().map(Some),
    };
    let narrow = |value: Option<i64>| value.map(i32::try_from).transpose().ok();
    let values = Values {
        power_dw: narrow(next()?)?,
        voltage_dv: narrow(next()?)?,
        current_ma: narrow(next()?)?,
        energy_dwh: next()?,
        power_factor_centi: narrow(next()?)?,
    };
    Some(Latest { socket, ts, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_comes_back() {
        let ts = Timestamp::from_millis(1_767_323_045_123);
        let values = Values {
            power_dw: Some(2_053),
            voltage_dv: None,
            current_ma: Some(-1),
            energy_dwh: Some(i64::MAX),
            power_factor_centi: Some(94),
        };
        let text = Reading(ts, &values).to_string();
        assert_eq!(text, "1767323045123 2053 - -1 9223372036854775807 94");
        let socket = SocketId::parse(2).unwrap();
        assert_eq!(parse("2", &text), Some(Latest { socket, ts, values }));
        for bad in ["", "x", "1 2", "1 2 3 4 5 99999999999"] {
            assert_eq!(parse("2", bad), None, "{bad}");
        }
        assert_eq!(parse("key", "7"), None);
    }
}
