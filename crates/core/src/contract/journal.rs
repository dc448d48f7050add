//! The contract of [`Journal`] and [`JournalReader`].
#![expect(
    clippy::unwrap_used,
    reason = "a contract's failure is a test's failure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ports::journal::{Chunk, Importance, Journal, JournalReader, Receipt};

#[derive(Default)]
struct Done(AtomicUsize);

struct Ticket(Arc<Done>);

impl Receipt for Ticket {
    fn done(self: Box<Self>) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }

    fn refuse(self: Box<Self>, _reason: &'static str) {}

    fn failed(self: Box<Self>) {}
}

/// The contract of both sides of one journal, empty and with room for some KiB.
///
/// # Panics
/// Where the journal breaks the contract.
pub async fn journal<J: Journal + JournalReader>(journal: &J) {
    let done = Arc::new(Done::default());
    let start = journal.start();
    assert_eq!(journal.replay_end(), start, "nothing of an earlier process");
    assert!(journal.read(start, 1000).await.unwrap().is_empty());
    let mut at = start;
    for n in 0_u8..20 {
        append(journal, &done, &[n; 10]);
        journal.readable(at).await;
        let chunks = journal.read(at, 1000).await.unwrap();
        assert_eq!(records(&chunks), [vec![n; 10]], "in the order they came");
        at = chunks.last().unwrap().end;
    }
    assert_eq!(all(journal, start).await.len(), 20);
    let first = journal.read(start, 1).await.unwrap();
    assert_eq!(first.len(), 1, "at least one, however little is asked for");
    journal.release(first[0].end);
    assert_eq!(all(journal, first[0].end).await.len(), 19);
    append(journal, &done, &[]);
    journal.barrier(Box::new(Ticket(Arc::clone(&done))));
    journal.readable(at).await;
    assert_eq!(
        records(&journal.read(at, 1000).await.unwrap()),
        [Vec::<u8>::new()]
    );
    while done.0.load(Ordering::SeqCst) < 22 {
        // Receipts are resolved right after records become readable.
        std::thread::yield_now();
    }
}

fn append(journal: &impl Journal, done: &Arc<Done>, record: &[u8]) {
    let ticket = Box::new(Ticket(Arc::clone(done)));
    let taken = journal.append(record, Importance::Acknowledged, Some(ticket));
    assert!(taken.is_ok());
}

fn records(chunks: &[Chunk]) -> Vec<Vec<u8>> {
    let records = chunks.iter().flat_map(Chunk::records);
    records.map(<[u8]>::to_vec).collect()
}

async fn all(journal: &impl JournalReader, mut from: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let chunks = journal.read(from, 40).await.unwrap();
        let Some(last) = chunks.last() else {
            return all;
        };
        from = last.end;
        all.extend(records(&chunks));
    }
}
