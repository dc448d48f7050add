//! What this node remembers of one device's messages: as the store has it, and
//! as it will be when everything that waits is kept.

use crate::ports::intake::InboxVersion;
use crate::record::{Control, Entry, Record, Telemetry};
use crate::services::ingest::{Decoded, Inbox};

/// The memory of one device's messages on one node.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// As last seen in the store; another node may have moved it since.
    stored: Inbox,
    /// The version of `stored`.
    version: InboxVersion,
    /// `stored` with everything that waits; tells at once what is new.
    live: Inbox,
    /// Messages that wait and matter to the inbox.
    waiting: u32,
    /// Whether `stored` took over what another node took.
    behind: bool,
}

/// What the local memory makes of a message.
#[derive(Debug)]
pub(super) struct Heard {
    /// What the store will judge.
    pub(super) entry: Entry,
    /// Whether it is new, as far as this node knows.
    pub(super) is_new: bool,
    /// The samples it comes to, where the entry does not tell.
    pub(super) samples: Option<Telemetry>,
}

impl Memory {
    /// Makes of a message what the store will judge, and says what is new of
    /// it as far as this node knows.
    pub(super) fn hear(&mut self, message: Decoded) -> Heard {
        let readings = match message {
            Decoded::Readings(readings) => readings,
            Decoded::Control(control) => return self.hear_control(control),
        };
        let samples = self.live.judge_readings(&readings);
        if let Some(telemetry) = &samples {
            self.live.apply_telemetry(telemetry);
        }
        match samples {
            // Stamped by the device: the store will see the same samples.
            Some(telemetry) if !readings.needs_judging() => Heard {
                entry: Entry::Record(Record::Telemetry(telemetry)),
                is_new: true,
                samples: None,
            },
            samples => Heard {
                entry: Entry::Readings(readings),
                is_new: samples.is_some(),
                samples,
            },
        }
    }

    fn hear_control(&mut self, control: Control) -> Heard {
        let is_new = self.live.is_new(&control);
        let record = Record::Control(control);
        if is_new {
            self.live.apply(&record);
        }
        Heard {
            entry: Entry::Record(record),
            is_new,
            samples: None,
        }
    }

    /// A message that matters waits for the store.
    pub(super) const fn wait(&mut self) {
        self.waiting = self.waiting.saturating_add(1);
    }

    /// One of them waits no longer.
    pub(super) fn waited(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 && self.behind {
            self.live = self.stored.clone();
            self.behind = false;
        }
    }

    /// The version last seen in the store.
    pub(super) const fn version(&self) -> InboxVersion {
        self.version
    }

    /// What was last seen in the store.
    pub(super) const fn stored(&self) -> &Inbox {
        &self.stored
    }

    /// Takes over what another node stored.
    pub(super) fn adopt(&mut self, version: InboxVersion, inbox: Inbox) {
        self.stored = inbox;
        self.version = version;
        self.behind = true;
    }

    /// This node stored `inbox`.
    pub(super) fn store(&mut self, version: InboxVersion, inbox: Inbox) {
        self.stored = inbox;
        self.version = version;
    }
}
