mod disk;
mod image;
mod prefix;

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

#[tokio::test]
async fn the_file_keeps_the_contract() {
    dormouse_core::contract::journal(&new_journal(&empty_disk())).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_read_back_now_and_after_a_crash() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    for id in 0..100 {
        append(&journal, &answers, id, 20);
    }
    answers.wait_for(99);
    let all: Vec<u32> = (0..100).collect();
    assert_eq!(read_all(&journal, journal.start()).await, all);

    let (_, again) = reopen(disk.contents(), None);
    assert_eq!(read_all(&again, again.start()).await, all);
    assert_eq!(again.stats().lost, 0);
}

#[tokio::test]
async fn the_ring_goes_round_as_long_as_it_is_released() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    let mut at = journal.start();
    for id in 0..500 {
        append(&journal, &answers, id, 1000);
        answers.wait_for(id);
        let chunks = journal.read(at, 1 << 20).await.unwrap();
        assert_eq!(ids(&chunks), [id]);
        if id % 7 == 0 {
            at = chunks.last().unwrap().end;
            journal.release(at);
        } else {
            at = chunks.last().unwrap().end;
        }
    }
    assert!(at > 5 * CAPACITY, "several laps");
    let saved = JournalPosition {
        journal: journal.id(),
        offset: at,
    };
    append(&journal, &answers, 500, 10);
    answers.wait_for(500);
    let (_, again) = reopen(disk.contents(), Some(saved));
    assert_eq!(read_all(&again, again.start()).await, [500]);
}

#[tokio::test]
async fn the_next_commit_starts_when_the_last_sync_ends() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    disk.hold();
    append(&journal, &answers, 0, 10);
    disk.wait_for_sync();
    for id in 1..50 {
        append(&journal, &answers, id, 10);
    }
    assert!(answers.done().is_empty(), "nothing is durable yet");
    disk.let_go();
    answers.wait_for(49);
    assert_eq!(journal.stats().commits, 2, "forty-nine shared one");
}

#[tokio::test]
async fn a_full_journal_acknowledges_nothing_and_goes_on_when_released() {
    // With room for the largest block, should the writer get no time at all.
    let disk = Disk::empty(RING_AT + CAPACITY_MIN);
    let journal = FileJournal::create(Arc::clone(&disk) as Arc<dyn Storage>, CAPACITY_MIN).unwrap();
    let answers = Arc::new(Answers::default());
    let mut id = 0;
    while !journal.stats().full {
        append(&journal, &answers, id, 4000);
        std::thread::yield_now();
        id += 1;
    }
    let done = answers.done();
    assert!(!done.contains(&(id - 1)));
    let qos0 = journal.append(&record(9999, 10), Importance::Droppable, None);
    assert!(matches!(qos0, Err((AppendError::Full, None))));
    assert!(journal.stats().used <= CAPACITY_MIN);

    let all: Vec<u32> = (0..id).collect();
    let mut read = Vec::new();
    let mut at = journal.start();
    while read.len() < all.len() {
        let chunks = journal.read(at, 16 << 10).await.unwrap();
        read.extend(ids(&chunks));
        if let Some(last) = chunks.last() {
            at = last.end;
            journal.release(at);
        } else {
            tokio::time::timeout(DEADLINE, journal.readable(at))
                .await
                .unwrap();
        }
    }
    assert_eq!(read, all);
    answers.wait_for(id - 1);
    assert!(!journal.stats().full);
}

#[tokio::test]
async fn more_than_can_wait_is_handed_back() {
    let disk = Disk::empty(RING_AT + CAPACITY_MIN);
    let journal = FileJournal::create(Arc::clone(&disk) as Arc<dyn Storage>, CAPACITY_MIN).unwrap();
    let answers = Arc::new(Answers::default());
    disk.hold();
    let mut id = 0;
    let refused = loop {
        let large = record(id, 100_000);
        match journal.append(&large, Importance::Acknowledged, answers.ticket(id)) {
            Ok(()) => id += 1,
            Err((error, receipt)) => break (error, receipt.is_some()),
        }
        assert!(id < 1000, "the queue has a bound");
    };
    assert_eq!(refused, (AppendError::Full, true));
    disk.let_go();
}

#[tokio::test]
async fn a_disk_that_fails_delays_the_answer_and_loses_nothing() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    disk.fail_syncs(2);
    append(&journal, &answers, 0, 10);
    answers.wait_for(0);
    disk.fail_writes(2);
    append(&journal, &answers, 1, 10);
    answers.wait_for(1);
    append(&journal, &answers, 2, 10);
    answers.wait_for(2);
    assert_eq!(journal.stats().failing, None);
    let left = disk.after_power_cut(|| false);
    let (_, again) = reopen(left, None);
    assert_eq!(read_all(&again, again.start()).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_repeat_is_answered_only_when_its_first_copy_is_durable() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    journal.barrier(answers.ticket(7).unwrap());
    answers.wait_for(7);
    disk.hold();
    append(&journal, &answers, 0, 10);
    disk.wait_for_sync();
    journal.barrier(answers.ticket(1).unwrap());
    assert_eq!(answers.done(), BTreeSet::from([7]));
    disk.let_go();
    answers.wait_for(1);
    assert!(answers.done().contains(&0));
}

#[tokio::test]
async fn closing_writes_what_was_taken_and_takes_no_more() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    disk.hold();
    append(&journal, &answers, 0, 10);
    disk.wait_for_sync();
    append(&journal, &answers, 1, 10);
    journal.close();
    let late = journal.append(&record(2, 10), Importance::Acknowledged, answers.ticket(2));
    assert!(matches!(late, Err((AppendError::Closed, Some(_)))));
    disk.let_go();
    tokio::time::timeout(DEADLINE, journal.ended())
        .await
        .unwrap();
    assert_eq!(answers.done(), BTreeSet::from([0, 1]));
}

#[tokio::test]
async fn closing_a_journal_whose_disk_fails_gives_up_what_is_not_durable() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    disk.fail_syncs(u32::MAX);
    append(&journal, &answers, 0, 10);
    journal.close();
    answers.wait_for_loss(0);
    assert!(answers.done().is_empty());
}

#[tokio::test]
async fn damage_in_the_middle_costs_that_block_alone() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    for id in 0..10 {
        append(&journal, &answers, id, 700);
        answers.wait_for(id);
    }
    let mut bytes = disk.contents();
    let fourth = usize::try_from(RING_AT + 3 * 2 * SECTOR).unwrap() + 100;
    bytes[fourth] ^= 1;
    let (_, again) = reopen(bytes, None);
    let left = read_all(&again, again.start()).await;
    assert_eq!(left, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(again.stats().lost, 2 * SECTOR);
}

#[tokio::test]
async fn a_torn_tail_is_dropped_and_overwritten() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    append(&journal, &answers, 0, 700);
    answers.wait_for(0);
    disk.hold();
    append(&journal, &answers, 1, 5000);
    disk.wait_for_sync();
    let mut odd = false;
    let torn = disk.after_power_cut(|| {
        odd = !odd;
        odd
    });
    let (_, again) = reopen(torn, None);
    assert_eq!(read_all(&again, again.start()).await, [0]);
    assert_eq!(again.stats().lost, 0, "nobody was told of it");
    append(&again, &answers, 2, 100);
    answers.wait_for(2);
    assert_eq!(read_all(&again, again.start()).await, [0, 2]);
    disk.let_go();
}

#[tokio::test]
async fn progress_of_another_journal_is_not_believed() {
    let (disk, answers) = (empty_disk(), Arc::new(Answers::default()));
    let journal = new_journal(&disk);
    for id in 0..3 {
        append(&journal, &answers, id, 10);
        answers.wait_for(id);
    }
    let foreign = JournalPosition {
        journal: journal.id() ^ 1,
        offset: 2 * SECTOR,
    };
    let (_, again) = reopen(disk.contents(), Some(foreign));
    assert_eq!(read_all(&again, again.start()).await, [0, 1, 2]);
    let own = JournalPosition {
        journal: journal.id(),
        offset: 2 * SECTOR,
    };
    let (_, again) = reopen(disk.contents(), Some(own));
    assert_eq!(read_all(&again, again.start()).await, [2]);
}

#[tokio::test]
async fn a_file_is_made_reopened_and_resized_only_when_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let answers = Arc::new(Answers::default());
    let journal = FileJournal::open(&path, CAPACITY_MIN, None).unwrap();
    append(&journal, &answers, 0, 10);
    answers.wait_for(0);
    journal.close();
    journal.ended().await;
    let len = std::fs::metadata(&path).unwrap().len();
    assert_eq!(len, RING_AT + CAPACITY_MIN);

    let larger = FileJournal::open(&path, 2 * CAPACITY_MIN, None).unwrap();
    assert_eq!(larger.stats().capacity, CAPACITY_MIN, "it holds a record");
    assert_eq!(read_all(&larger, larger.start()).await, [0]);
    larger.release(larger.replay_end());
    append(&larger, &answers, 1, 10);
    answers.wait_for(1);
    larger.close();
    larger.ended().await;

    let saved = JournalPosition {
        journal: larger.id(),
        offset: larger.replay_end() + SECTOR,
    };
    let resized = FileJournal::open(&path, 2 * CAPACITY_MIN, Some(saved)).unwrap();
    assert_eq!(resized.stats().capacity, 2 * CAPACITY_MIN);
}

#[tokio::test]
async fn something_else_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
    assert!(FileJournal::open(&path, CAPACITY_MIN, None).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 10_000]);
}
