//! A batch under its devices' locks: judged in order, made into one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::decode::Status;
use crate::device::Reported;
use crate::directory::Directory;
use crate::event::Event;
use crate::ids::DeviceKey;
use crate::ports::intake::IntakeBatch;
use crate::record::{Control, ControlBody, Entry, Record, Telemetry};
use crate::sample::DeviceSample;
use crate::services::ingest::Inbox;

/// Judges the messages of one batch.
pub(super) struct Judge<'a> {
    directory: &'a dyn Directory,
    inboxes: HashMap<DeviceKey, Working>,
    samples: Vec<DeviceSample>,
    events: Vec<Event>,
    reports: HashMap<DeviceKey, (Status, Timestamp)>,
    repeats: u64,
}

/// The inbox of a device, as it becomes.
struct Working {
    inbox: Inbox,
    changed: bool,
}

/// What became of a batch.
pub(super) struct Judged {
    /// What to keep; inboxes in their stored form.
    pub(super) batch: IntakeBatch,
    /// The inboxes that changed.
    pub(super) inboxes: Vec<(DeviceKey, Inbox)>,
    /// Messages that changed nothing.
    pub(super) repeats: u64,
}

impl<'a> Judge<'a> {
    /// `inboxes` are those that have a say.
    pub(super) fn new(
        directory: &'a dyn Directory,
        inboxes: impl Iterator<Item = (DeviceKey, Inbox)>,
    ) -> Self {
        let working = |inbox| Working {
            inbox,
            changed: false,
        };
        Self {
            directory,
            inboxes: inboxes.map(|(device, it)| (device, working(it))).collect(),
            samples: Vec::new(),
            events: Vec::new(),
            reports: HashMap::new(),
            repeats: 0,
        }
    }

    /// Judges the next message; says whether it is new.
    pub(super) fn take(&mut self, entry: &Entry) -> bool {
        let is_new = match entry {
            Entry::Readings(readings) => match self.inboxes.get_mut(&readings.device) {
                Some(working) => match working.inbox.judge_readings(readings) {
                    Some(telemetry) => {
                        working.inbox.apply_telemetry(&telemetry);
                        working.changed = true;
                        self.keep_samples(&telemetry);
                        true
                    }
                    None => false,
                },
                None => false,
            },
            Entry::Record(Record::Telemetry(telemetry)) => {
                if let Some(working) = self.inboxes.get_mut(&telemetry.device) {
                    working.inbox.apply_telemetry(telemetry);
                    working.changed |= telemetry.stamped || !telemetry.sequences.is_empty();
                }
                self.keep_samples(telemetry);
                true
            }
            Entry::Record(record @ Record::Control(control)) => self.take_control(record, control),
        };
        self.repeats += u64::from(!is_new);
        is_new
    }

    fn take_control(&mut self, record: &Record, control: &Control) -> bool {
        let Some(working) = self.inboxes.get_mut(&control.device) else {
            return false;
        };
        if !working.inbox.is_new(control) {
            return false;
        }
        working.inbox.apply(record);
        working.changed = true;
        match &control.body {
            ControlBody::Status(status) if status.online => {
                let at = working.inbox.stamp_report(control.at);
                let report = (status.clone(), at);
                self.reports.insert(control.device, report);
            }
            ControlBody::Event(event) => {
                if let Some(device) = self.directory.by_key(control.device) {
                    let event = Event::of_device(&device, event, control.at);
                    self.events.push(event);
                }
            }
            // Presence and the dispatcher keep what follows from these.
            ControlBody::Status(_) | ControlBody::Ack(_) => {}
        }
        true
    }

    fn keep_samples(&mut self, telemetry: &Telemetry) {
        let device = telemetry.device;
        let samples = telemetry.samples.iter();
        self.samples.extend(samples.map(|sample| DeviceSample {
            device,
            sample: *sample,
        }));
    }

    /// The transaction. `mark` stands behind each inbox in it, so that its
    /// writer knows it again.
    pub(super) fn finish(mut self, mark: u64) -> Judged {
        // Stable, so that of equal ones the first to arrive stays first.
        self.samples
            .sort_by_key(|s| (s.device, s.sample.socket, s.sample.ts));
        let mut reports: Vec<_> = self
            .reports
            .into_iter()
            .filter_map(|(device, (status, at))| {
                let known = self.directory.by_key(device)?;
                let reported = Reported::after_status(known.reported.as_deref(), status, at);
                Some((device, Arc::new(reported)))
            })
            .collect();
        reports.sort_by_key(|(device, _)| *device);
        let changed = self.inboxes.into_iter().filter(|(_, it)| it.changed);
        let mut inboxes: Vec<_> = changed.map(|(device, it)| (device, it.inbox)).collect();
        inboxes.sort_by_key(|(device, _)| *device);
        let batch = IntakeBatch {
            samples: self.samples,
            inboxes: inboxes
                .iter()
                .map(|(device, inbox)| (*device, marked(inbox, mark)))
                .collect(),
            events: self.events,
            reports,
            ..IntakeBatch::default()
        };
        Judged {
            batch,
            inboxes,
            repeats: self.repeats,
        }
    }
}

/// Bytes behind those of an inbox are nobody's but their writer's.
fn marked(inbox: &Inbox, mark: u64) -> Box<[u8]> {
    let mut bytes = inbox.save().into_vec();
    bytes.extend_from_slice(&mark.to_le_bytes());
    bytes.into_boxed_slice()
}
