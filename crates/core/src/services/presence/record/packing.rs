//! How records travel. One entry holds several of them, each with its kind and
//! length before it: a node passes over kinds that it does not know, of a newer
//! one beside it.

use std::time::Duration;

use bytes::Bytes;

use super::{News, Record};
use crate::clock::Timestamp;
use crate::ids::{DeviceKey, EventId};
use crate::ports::nodes::{Fence, NodeId};
use crate::presence::{Life, PresenceReason, PresenceState, SessionEnd};
use crate::varint::{self, Reader};

const ALIVE: u64 = 1;
const STATUS: u64 = 2;
const GOODBYE: u64 = 3;
const SESSION_STARTED: u64 = 4;
const SESSION_ENDED: u64 = 5;
const SILENT: u64 = 6;
const KEPT: u64 = 7;
const LINK: u64 = 8;

/// Packs records into one entry.
#[must_use]
pub fn encode(records: &[Record]) -> Bytes {
    let mut entry = Vec::new();
    let mut body = Vec::new();
    for record in records {
        body.clear();
        let kind = put(record, &mut body);
        varint::put(&mut entry, kind);
        varint::put(&mut entry, body.len() as u64);
        entry.extend_from_slice(&body);
    }
    entry.into()
}

/// The records of an entry, each with its place in it. Ends where the bytes
/// make no sense.
#[must_use]
pub fn decode(entry: &[u8]) -> Vec<(u32, Record)> {
    let mut records = Vec::new();
    let mut left = entry;
    for place in 0_u32.. {
        let Some((kind, body, rest)) = split(left) else {
            break;
        };
        left = rest;
        if let Some(record) = read(kind, body) {
            records.push((place, record));
        }
    }
    records
}

fn split(entry: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let mut reader = Reader::new(entry);
    let kind = reader.unsigned()?;
    let length = usize::try_from(reader.unsigned()?).ok()?;
    let (body, rest) = reader.rest().split_at_checked(length)?;
    Some((kind, body, rest))
}

fn put(record: &Record, out: &mut Vec<u8>) -> u64 {
    match record {
        Record::Alive(signs) => {
            let mut last = 0;
            for (device, at) in signs {
                varint::put(out, u64::from(device.0));
                varint::put_signed(out, at.as_millis().wrapping_sub(last));
                last = at.as_millis();
            }
            ALIVE
        }
        Record::Heard { device, at, news } => {
            varint::put(out, u64::from(device.0));
            varint::put_signed(out, at.as_millis());
            put_news(*news, out)
        }
        Record::Silent {
            device,
            at,
            since,
            fence,
        } => {
            varint::put(out, u64::from(device.0));
            varint::put_signed(out, at.as_millis());
            varint::put_signed(out, since.as_millis());
            varint::put_signed(out, fence.0);
            SILENT
        }
        Record::Kept {
            device,
            at,
            state,
            reason,
            event,
            fence,
        } => {
            varint::put(out, u64::from(device.0));
            varint::put_signed(out, at.as_millis());
            varint::put_signed(out, fence.0);
            out.push(u8::from(*state == PresenceState::Online));
            out.extend_from_slice(event.0.as_bytes());
            out.extend_from_slice(reason.name().as_bytes());
            KEPT
        }
        Record::Link { node, whole } => {
            out.push(u8::from(*whole));
            out.extend_from_slice(node.0.as_bytes());
            LINK
        }
    }
}

fn put_news(news: News, out: &mut Vec<u8>) -> u64 {
    match news {
        News::Status { life, period } => {
            put_life(life, out);
            let period = period.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
            varint::put(out, period.map_or(0, |ms| ms.saturating_add(1)));
            STATUS
        }
        News::Goodbye { life, by_broker } => {
            put_life(life, out);
            out.push(u8::from(by_broker));
            GOODBYE
        }
        News::SessionStarted(session) => {
            varint::put(out, session);
            SESSION_STARTED
        }
        News::SessionEnded(session, end) => {
            varint::put(out, session);
            out.push(match end {
                SessionEnd::Disconnected => 0,
                SessionEnd::Lost => 1,
                SessionEnd::TimedOut => 2,
                SessionEnd::TakenOver => 3,
                SessionEnd::Kicked => 4,
                SessionEnd::BrokerStopped => 5,
            });
            SESSION_ENDED
        }
    }
}

fn put_life(life: Option<Life>, out: &mut Vec<u8>) {
    out.push(u8::from(life.is_some()));
    if let Some(life) = life {
        varint::put(out, u64::from(life.boot));
        varint::put(out, u64::from(life.conn));
    }
}

fn read(kind: u64, body: &[u8]) -> Option<Record> {
    let mut reader = Reader::new(body);
    match kind {
        ALIVE => {
            let mut signs = Vec::new();
            let mut last = 0_i64;
            while !reader.rest().is_empty() {
                let device = DeviceKey(reader.u32()?);
                last = last.wrapping_add(reader.signed()?);
                signs.push((device, Timestamp::from_millis(last)));
            }
            Some(Record::Alive(signs))
        }
        SILENT => Some(Record::Silent {
            device: DeviceKey(reader.u32()?),
            at: read_time(&mut reader)?,
            since: read_time(&mut reader)?,
            fence: Fence(reader.signed()?),
        }),
        KEPT => {
            let device = DeviceKey(reader.u32()?);
            let at = read_time(&mut reader)?;
            let fence = Fence(reader.signed()?);
            let state = match reader.byte()? {
                0 => PresenceState::Offline,
                _ => PresenceState::Online,
            };
            let (id, reason) = reader.rest().split_at_checked(16)?;
            Some(Record::Kept {
                device,
                at,
                state,
                reason: PresenceReason::from_name(std::str::from_utf8(reason).ok()?)?,
                event: EventId(uuid::Uuid::from_slice(id).ok()?),
                fence,
            })
        }
        LINK => {
            let whole = reader.byte()? != 0;
            let node = std::str::from_utf8(reader.rest()).ok()?;
            let node = NodeId(node.into());
            Some(Record::Link { node, whole })
        }
        _ => {
            let device = DeviceKey(reader.u32()?);
            let at = read_time(&mut reader)?;
            let news = read_news(kind, &mut reader)?;
            Some(Record::Heard { device, at, news })
        }
    }
}

fn read_news(kind: u64, reader: &mut Reader<'_>) -> Option<News> {
    Some(match kind {
        STATUS => News::Status {
            life: read_life(reader)?,
            period: reader.unsigned()?.checked_sub(1).map(Duration::from_millis),
        },
        GOODBYE => News::Goodbye {
            life: read_life(reader)?,
            by_broker: reader.byte()? != 0,
        },
        SESSION_STARTED => News::SessionStarted(reader.unsigned()?),
        SESSION_ENDED => {
            let session = reader.unsigned()?;
            let end = match reader.byte()? {
                0 => SessionEnd::Disconnected,
                1 => SessionEnd::Lost,
                2 => SessionEnd::TimedOut,
                3 => SessionEnd::TakenOver,
                4 => SessionEnd::Kicked,
                5 => SessionEnd::BrokerStopped,
                _ => return None,
            };
            News::SessionEnded(session, end)
        }
        _ => return None,
    })
}

fn read_life(reader: &mut Reader<'_>) -> Option<Option<Life>> {
    if reader.byte()? == 0 {
        return Some(None);
    }
    Some(Some(Life {
        boot: reader.u32()?,
        conn: reader.u32()?,
    }))
}

fn read_time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    reader.signed().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn life() -> impl Strategy<Value = Option<Life>> {
        prop::option::of(any::<(u32, u32)>().prop_map(|(boot, conn)| Life { boot, conn }))
    }

    fn news() -> impl Strategy<Value = News> {
        let ends = prop::sample::select(vec![
            SessionEnd::Disconnected,
            SessionEnd::Lost,
            SessionEnd::TimedOut,
            SessionEnd::TakenOver,
            SessionEnd::Kicked,
            SessionEnd::BrokerStopped,
        ]);
        let period = prop::option::of((0..1_u64 << 40).prop_map(Duration::from_millis));
        prop_oneof![
            (life(), period).prop_map(|(life, period)| News::Status { life, period }),
            (life(), any::<bool>()).prop_map(|(life, by_broker)| News::Goodbye { life, by_broker }),
            any::<u64>().prop_map(News::SessionStarted),
            (any::<u64>(), ends).prop_map(|(session, end)| News::SessionEnded(session, end)),
        ]
    }

    fn at() -> impl Strategy<Value = Timestamp> {
        (-(1_i64 << 60)..1 << 60).prop_map(Timestamp::from_millis)
    }

    fn record() -> impl Strategy<Value = Record> {
        let device = any::<u32>().prop_map(DeviceKey);
        prop_oneof![
            prop::collection::vec((device.clone(), at()), 0..9).prop_map(Record::Alive),
            (device.clone(), at(), news()).prop_map(|(device, at, news)| Record::Heard {
                device,
                at,
                news
            }),
            (device, at(), at(), any::<i64>()).prop_map(|(device, at, since, fence)| {
                Record::Silent {
                    device,
                    at,
                    since,
                    fence: Fence(fence),
                }
            }),
            (any::<String>(), any::<bool>()).prop_map(|(node, whole)| Record::Link {
                node: NodeId(node.into()),
                whole,
            }),
            (any::<u32>(), at(), any::<bool>(), any::<u128>()).prop_map(
                |(device, at, online, id)| {
                    let (state, reason) = if online {
                        (PresenceState::Online, PresenceReason::Heard)
                    } else {
                        (PresenceState::Offline, PresenceReason::Silence)
                    };
                    Record::Kept {
                        device: DeviceKey(device),
                        at,
                        state,
                        reason,
                        event: EventId(uuid::Uuid::from_u128(id)),
                        fence: Fence(3),
                    }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(records in prop::collection::vec(record(), 0..9)) {
            let read = decode(&encode(&records));
            let expected: Vec<_> = (0..).zip(records).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn whatever_the_bytes_nothing_panics(bytes: Vec<u8>) {
            drop(decode(&bytes));
        }
    }

    #[test]
    fn kinds_of_newer_nodes_are_passed_over_and_counted() {
        let known = Record::Alive(vec![(DeviceKey(7), Timestamp::from_millis(5))]);
        let mut entry = vec![99, 3, 1, 2, 3];
        entry.extend_from_slice(&encode(std::slice::from_ref(&known)));
        assert_eq!(decode(&entry), [(1, known)]);
    }

    #[test]
    fn a_sign_of_life_takes_few_bytes() {
        let now = 1_767_355_200_000;
        let signs = (0..1_000_u32).map(|n| {
            let at = Timestamp::from_millis(now + i64::from(n % 200));
            (DeviceKey(100_000 + n), at)
        });
        let entry = encode(&[Record::Alive(signs.collect())]);
        assert!(entry.len() <= 6_000, "{}", entry.len());
    }
}
