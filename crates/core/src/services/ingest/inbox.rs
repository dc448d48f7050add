//! What is remembered of each device's messages: enough to tell new from
//! repeated, newer from older, and to give a time to what carries none.

use std::collections::VecDeque;
use std::time::Duration;

use super::Decoded;
use super::stamp::{ack_print, event_print, stamped};
use super::window::Window;
use crate::clock::Timestamp;
use crate::decode::Sequence;
use crate::record::{Control, ControlBody, Readings, Record, Telemetry};
use crate::varint::{Reader, put, put_signed};

/// How many events and acks without a sequence are remembered.
const RECENT_MAX: usize = 256;
/// How long a message of the start before the current one counts as late. A
/// device whose flash was wiped begins again with low numbers and must not be
/// taken for its own past for ever.
const LATE_START: Duration = Duration::from_secs(300);
/// Version of the bytes of [`Inbox::save`].
const FORMAT: u8 = 1;

/// The memory of one device's messages. Small, since there is one per device;
/// rebuilt after a crash from the last save and the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inbox {
    telemetry: Window,
    control: Window,
    /// The latest stamp of any sample.
    last_ts: Timestamp,
    /// The newest control message.
    newest: Option<Start>,
    /// Which start came before that one.
    previous_boot: Option<u32>,
    /// Fingerprints of events and acks without a sequence, oldest first.
    recent: VecDeque<u64>,
    /// The stamp of the last report handed on by [`Inbox::stamp_report`].
    reported_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    place: Sequence,
    /// When the first message of this start came.
    since: Timestamp,
}

impl Inbox {
    /// Whether a reading without a stamp of its own came before.
    pub(super) fn has_reading(&self, place: Sequence) -> bool {
        self.telemetry.contains(place)
    }

    /// The latest stamp of any sample.
    pub(super) const fn last_ts(&self) -> Timestamp {
        self.last_ts
    }

    /// Whether an ack or event came before.
    fn has_control(&self, place: Option<Sequence>, fingerprint: u64) -> bool {
        match place {
            Some(place) => self.control.contains(place),
            None => self.recent.contains(&fingerprint),
        }
    }

    /// What is new of a message; `None` for a repeat, or a report that is not
    /// the newest.
    pub(crate) fn judge(&self, message: Decoded) -> Option<Record> {
        match message {
            Decoded::Readings(readings) => self.judge_readings(&readings).map(Record::Telemetry),
            Decoded::Control(control) => self.is_new(&control).then_some(Record::Control(control)),
        }
    }

    /// The samples that did not come before; `None` where all did.
    pub(crate) fn judge_readings(&self, readings: &Readings) -> Option<Telemetry> {
        let telemetry = stamped(self, readings);
        (!telemetry.samples.is_empty()).then_some(telemetry)
    }

    /// Whether a message did not come before; of reports, whether it is newer
    /// than all that did.
    pub(crate) fn is_new(&self, control: &Control) -> bool {
        match &control.body {
            ControlBody::Status(status) => {
                self.is_newer(Sequence::of(status.boot, status.seq), control.at)
            }
            ControlBody::Ack(ack) => !self.has_control(ack.sequence, ack_print(ack)),
            ControlBody::Event(event) => !self.has_control(event.sequence, event_print(event.id)),
        }
    }

    /// Whether a control message is newer than all that came before; without
    /// a place, arrival decides.
    fn is_newer(&self, place: Option<Sequence>, at: Timestamp) -> bool {
        let (Some(place), Some(newest)) = (place, self.newest) else {
            return true;
        };
        if place.boot == newest.place.boot {
            return place.seq > newest.place.seq;
        }
        self.previous_boot != Some(place.boot) || at.since(newest.since) > LATE_START
    }

    /// The stamp of the newest report, received at `at`: later than that of
    /// every one before it, though another node with another clock had those.
    pub(crate) fn stamp_report(&mut self, at: Timestamp) -> Timestamp {
        let next = Timestamp::from_millis(self.reported_at.as_millis().saturating_add(1));
        self.reported_at = at.max(next);
        self.reported_at
    }

    /// Remembers a message that was taken.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Telemetry(telemetry) => self.apply_telemetry(telemetry),
            Record::Control(control) => match &control.body {
                ControlBody::Status(status) => {
                    self.apply_control(Sequence::of(status.boot, status.seq), None, control.at);
                }
                ControlBody::Ack(ack) => {
                    self.apply_control(ack.sequence, Some(ack_print(ack)), control.at);
                }
                ControlBody::Event(event) => {
                    self.apply_control(event.sequence, Some(event_print(event.id)), control.at);
                }
            },
        }
    }

    pub(crate) fn apply_telemetry(&mut self, telemetry: &Telemetry) {
        for place in &telemetry.sequences {
            self.telemetry.mark(*place);
        }
        let latest = telemetry.samples.iter().map(|sample| sample.ts).max();
        self.last_ts = self.last_ts.max(latest.unwrap_or_default());
    }

    fn apply_control(&mut self, place: Option<Sequence>, print: Option<u64>, at: Timestamp) {
        let Some(place) = place else {
            if let Some(print) = print {
                if self.recent.len() == RECENT_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back(print);
            }
            return;
        };
        let newer = self.is_newer(Some(place), at);
        self.control.mark(place);
        if !newer {
            return;
        }
        let started = self.newest.filter(|start| start.place.boot == place.boot);
        if started.is_none() {
            self.previous_boot = self.newest.map(|start| start.place.boot);
        }
        let since = started.map_or(at, |start| start.since);
        self.newest = Some(Start { place, since });
    }

    /// Whether anything is remembered that the samples in the database do not
    /// tell anyway.
    pub(crate) fn matters(record: &Record) -> bool {
        match record {
            Record::Telemetry(telemetry) => telemetry.stamped || !telemetry.sequences.is_empty(),
            Record::Control(_) => true,
        }
    }

    /// Writes it down for the next process.
    pub(crate) fn save(&self) -> Box<[u8]> {
        let mut out = vec![FORMAT];
        self.telemetry.put(&mut out);
        self.control.put(&mut out);
        put_signed(&mut out, self.last_ts.as_millis());
        match self.newest {
            None => out.push(0),
            Some(start) => {
                out.push(1);
                put(&mut out, start.place.boot.into());
                put(&mut out, start.place.seq.into());
                put_signed(&mut out, start.since.as_millis());
            }
        }
        put(
            &mut out,
            self.previous_boot.map_or(0, |boot| u64::from(boot) + 1),
        );
        put(&mut out, self.recent.len() as u64);
        for print in &self.recent {
            put(&mut out, *print);
        }
        put_signed(&mut out, self.reported_at.as_millis());
        out.into_boxed_slice()
    }

    /// Reads what [`Inbox::save`] wrote; `None` for bytes of another version.
    pub(crate) fn restore(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != FORMAT {
            return None;
        }
        let telemetry = Window::read(&mut reader)?;
        let control = Window::read(&mut reader)?;
        let last_ts = Timestamp::from_millis(reader.signed()?);
        let newest = match reader.byte()? {
            0 => None,
            _ => Some(Start {
                place: Sequence {
                    boot: reader.u32()?,
                    seq: reader.u32()?,
                },
                since: Timestamp::from_millis(reader.signed()?),
            }),
        };
        let previous_boot = reader.unsigned()?.checked_sub(1);
        let count = reader.unsigned()?;
        let recent = (0..count)
            .map(|_| reader.unsigned())
            .collect::<Option<VecDeque<_>>>()?;
        // Older processes did not write it; what follows is its writer's mark.
        let reported_at = Timestamp::from_millis(reader.signed().unwrap_or_default());
        Some(Self {
            telemetry,
            control,
            last_ts,
            newest,
            previous_boot: previous_boot.and_then(|boot| boot.try_into().ok()),
            recent,
            reported_at,
        })
    }
}
