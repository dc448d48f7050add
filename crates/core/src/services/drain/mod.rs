//! The way from the journal into the databases, in batches sorted by device.
//!
//! Everything it writes is idempotent and the position is written last, with
//! the samples: after a crash at any point the rest is simply done again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::ingest::{Inbox, Ingest};
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::journal::{Chunk, JournalPosition, JournalReader, Progress};
use crate::record::{Control, Entry, Record};
use crate::sample::DeviceSample;

/// The bytes of the journal that one batch takes: some 100,000 samples.
pub const BATCH_BYTES: usize = 3 * 1024 * 1024;

/// The databases behind the journal. Both methods are idempotent, and durable
/// when they return.
#[async_trait]
pub trait Keeper: Send + Sync + 'static {
    /// Keeps statuses, events and acks, in order. What was `replayed` was taken
    /// by an earlier process and may not have been acted upon; of the rest,
    /// acks and statuses were heard by everyone when they came.
    ///
    /// # Errors
    /// When a database does not take them; they are given again later.
    async fn keep_control(&self, controls: Vec<Control>, replayed: bool) -> Result<(), PortError>;

    /// Keeps samples, sorted by device, socket and time, together with the
    /// progress, in one transaction. The first of equal ones counts.
    ///
    /// # Errors
    /// When the database does not take them; they are given again later.
    async fn keep_samples(
        &self,
        samples: Vec<DeviceSample>,
        progress: Progress,
    ) -> Result<(), PortError>;
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Bytes of the journal that are in the databases now.
    pub bytes: u64,
    /// Samples among them.
    pub samples: usize,
    /// Records that could not be read, such as those of a newer version.
    pub unreadable: usize,
}

/// Moves records from the journal into the databases; one per journal.
pub struct Drain {
    journal: Arc<dyn JournalReader>,
    keeper: Arc<dyn Keeper>,
    position: AtomicU64,
    /// The inboxes as of `position`, which is behind those of [`Ingest`].
    inboxes: tokio::sync::Mutex<HashMap<DeviceKey, Inbox>>,
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drain")
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// A stretch of the journal, decoded.
#[derive(Default)]
struct Batch {
    end: u64,
    samples: Vec<DeviceSample>,
    controls: Vec<Control>,
    changed: HashMap<DeviceKey, Inbox>,
    unreadable: usize,
}

impl Drain {
    /// Takes up where the last process ended: `saved` are the inboxes it
    /// stored with its progress. Brings `ingest` up to the end of the journal,
    /// so that repeats of what it holds are recognised.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn resume(
        journal: Arc<dyn JournalReader>,
        keeper: Arc<dyn Keeper>,
        saved: Vec<(DeviceKey, Box<[u8]>)>,
        ingest: &Ingest,
    ) -> Result<Self, PortError> {
        let inboxes: HashMap<DeviceKey, Inbox> = saved
            .into_iter()
            .filter_map(|(device, bytes)| Some((device, Inbox::restore(&bytes)?)))
            .collect();
        let mut current = inboxes.clone();
        let mut at = journal.start();
        while at < journal.replay_end() {
            let chunks = journal.read(at, BATCH_BYTES).await?;
            let Some(last) = chunks.last() else { break };
            at = last.end;
            for record in chunks.iter().flat_map(Chunk::records) {
                if let Some(entry) = Entry::decode(record) {
                    let inbox = current.entry(entry.device()).or_default();
                    if let Some(record) = judged(inbox, entry) {
                        inbox.apply(&record);
                    }
                }
            }
        }
        for (device, inbox) in current {
            ingest.restore(device, inbox);
        }
        Ok(Self {
            position: AtomicU64::new(journal.start()),
            journal,
            keeper,
            inboxes: tokio::sync::Mutex::new(inboxes),
        })
    }

    /// Everything before it is in the databases.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Waits until there is something to do.
    pub async fn readable(&self) {
        self.journal.readable(self.position()).await;
    }

    /// Moves one batch. Nothing has moved after an error, and calling it again
    /// later is right.
    ///
    /// # Errors
    /// When the journal or a database does not answer.
    pub async fn step(&self) -> Result<Step, PortError> {
        let mut inboxes = self.inboxes.lock().await;
        let position = self.position();
        let replaying = position < self.journal.replay_end();
        let mut chunks = self.journal.read(position, BATCH_BYTES).await?;
        if replaying {
            chunks.retain(|chunk| chunk.end <= self.journal.replay_end());
        }
        let Some(last) = chunks.last() else {
            return Ok(Step::default());
        };
        let mut batch = Batch {
            end: last.end,
            ..Batch::default()
        };
        for record in chunks.iter().flat_map(Chunk::records) {
            batch.take(record, &inboxes);
        }
        drop(chunks);
        batch.sort();
        let done = Step {
            bytes: batch.end - position,
            samples: batch.samples.len(),
            unreadable: batch.unreadable,
        };
        if !batch.controls.is_empty() {
            self.keeper.keep_control(batch.controls, replaying).await?;
        }
        let progress = Progress {
            position: JournalPosition {
                journal: self.journal.id(),
                offset: batch.end,
            },
            inboxes: batch
                .changed
                .iter()
                .map(|(device, inbox)| (*device, inbox.save()))
                .collect(),
        };
        self.keeper.keep_samples(batch.samples, progress).await?;
        inboxes.extend(batch.changed);
        self.position.store(batch.end, Ordering::Relaxed);
        self.journal.release(batch.end);
        Ok(done)
    }
}

impl Batch {
    fn take(&mut self, bytes: &[u8], inboxes: &HashMap<DeviceKey, Inbox>) {
        let Some(entry) = Entry::decode(bytes) else {
            self.unreadable += 1;
            return;
        };
        let device = entry.device();
        let record = match entry {
            Entry::Record(record) => Some(record),
            Entry::Readings(_) => judged(self.inbox(device, inboxes), entry),
        };
        let Some(record) = record else { return };
        if Inbox::matters(&record) {
            self.inbox(device, inboxes).apply(&record);
        }
        match record {
            Record::Telemetry(telemetry) => {
                let device = telemetry.device;
                let samples = telemetry.samples.into_iter();
                self.samples
                    .extend(samples.map(|sample| DeviceSample { device, sample }));
            }
            Record::Control(control) => self.controls.push(control),
        }
    }

    /// The device's inbox as it will be after the batch.
    fn inbox(&mut self, device: DeviceKey, before: &HashMap<DeviceKey, Inbox>) -> &mut Inbox {
        let changed = self.changed.entry(device);
        changed.or_insert_with(|| before.get(&device).cloned().unwrap_or_default())
    }

    /// By device, socket and time; stable, so that of equal ones the first to
    /// arrive stays first.
    fn sort(&mut self) {
        self.samples
            .sort_by_key(|s| (s.device, s.sample.socket, s.sample.ts));
    }
}

/// What is new of an entry. Most were judged before they were appended; what a
/// process on another database left behind was not.
fn judged(inbox: &Inbox, entry: Entry) -> Option<Record> {
    match entry {
        Entry::Record(record) => Some(record),
        Entry::Readings(readings) => inbox.judge_readings(&readings).map(Record::Telemetry),
    }
}

#[cfg(test)]
mod tests;
