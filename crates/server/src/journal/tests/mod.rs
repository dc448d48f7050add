mod disk;
mod image;
mod prefix;
mod reopening;
mod taking;

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dormouse_core::ports::journal::{
    AppendError, Chunk, Importance, Journal, JournalPosition, JournalReader, Receipt,
};

use super::format::{RING_AT, SECTOR};
use super::storage::Storage;
use super::{CAPACITY_MIN, FileJournal};
use disk::Disk;

const CAPACITY: u64 = 64 << 10;
const DEADLINE: Duration = Duration::from_secs(10);

/// Remembers which receipts were resolved, and how.
#[derive(Default)]
struct Answers {
    done: Mutex<BTreeSet<u32>>,
    lost: Mutex<BTreeSet<u32>>,
    moved: Condvar,
}

struct Ticket {
    id: u32,
    answers: Arc<Answers>,
    resolved: bool,
}

impl Receipt for Ticket {
    fn done(mut self: Box<Self>) {
        self.resolved = true;
        self.answers.done.lock().unwrap().insert(self.id);
        self.answers.moved.notify_all();
    }

    fn refuse(mut self: Box<Self>, _reason: &'static str) {
        self.resolved = true;
    }

    fn failed(self: Box<Self>) {}
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.resolved {
            self.answers.lost.lock().unwrap().insert(self.id);
            self.answers.moved.notify_all();
        }
    }
}

impl Answers {
    fn ticket(self: &Arc<Self>, id: u32) -> Option<Box<dyn Receipt>> {
        Some(Box::new(Ticket {
            id,
            answers: Arc::clone(self),
            resolved: false,
        }))
    }

    fn done(&self) -> BTreeSet<u32> {
        self.done.lock().unwrap().clone()
    }

    fn wait_for(&self, id: u32) {
        let done = self.done.lock().unwrap();
        let (_guard, timeout) = self
            .moved
            .wait_timeout_while(done, DEADLINE, |done| !done.contains(&id))
            .unwrap();
        assert!(!timeout.timed_out(), "{id} was not acknowledged");
    }

    fn wait_for_loss(&self, id: u32) {
        let lost = self.lost.lock().unwrap();
        let (_guard, timeout) = self
            .moved
            .wait_timeout_while(lost, DEADLINE, |lost| !lost.contains(&id))
            .unwrap();
        assert!(!timeout.timed_out(), "{id} was not given up");
    }
}

fn new_journal(disk: &Arc<Disk>) -> FileJournal {
    FileJournal::create(Arc::clone(disk) as Arc<dyn Storage>, CAPACITY).unwrap()
}

fn reopen(bytes: Vec<u8>, saved: Option<JournalPosition>) -> (Arc<Disk>, FileJournal) {
    let disk = Disk::with(bytes);
    let storage: Arc<dyn Storage> = disk.clone();
    let journal = FileJournal::resume(&storage, saved).unwrap();
    (disk, journal)
}

fn empty_disk() -> Arc<Disk> {
    Disk::empty(RING_AT + CAPACITY)
}

/// A record that says which one it is, `len` bytes long.
fn record(id: u32, len: usize) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.resize(len.max(4), u8::try_from(id % 251).unwrap());
    bytes
}

fn append(journal: &FileJournal, answers: &Arc<Answers>, id: u32, len: usize) {
    let taken = journal.append(
        &record(id, len),
        Importance::Acknowledged,
        answers.ticket(id),
    );
    assert!(taken.is_ok());
}

fn ids(chunks: &[Chunk]) -> Vec<u32> {
    let records = chunks.iter().flat_map(Chunk::records);
    records
        .map(|bytes| {
            let id = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            assert_eq!(bytes, record(id, bytes.len()), "contents of {id}");
            id
        })
        .collect()
}

/// Everything from `from` on, read in small portions.
async fn read_all(journal: &FileJournal, mut from: u64) -> Vec<u32> {
    let mut all = Vec::new();
    loop {
        let chunks = journal.read(from, 1000).await.unwrap();
        let Some(last) = chunks.last() else {
            return all;
        };
        from = last.end;
        all.extend(ids(&chunks));
    }
}
