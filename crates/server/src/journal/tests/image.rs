//! Copies of a journal at work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dormouse_core::ports::journal::{Importance, Journal, JournalPosition, JournalReader};

use super::{Answers, record};
use crate::journal::{CAPACITY_MIN, FileJournal, OpenError, copy_journal};

fn copy(from: &Path, to: &Path, saved: Option<JournalPosition>) -> u64 {
    copy_journal::<OpenError>(from, to, || Ok(saved)).unwrap()
}

async fn ids(journal: &FileJournal) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut at = journal.start();
    while at < journal.replay_end() {
        for chunk in journal.read(at, 1 << 20).await.unwrap() {
            at = chunk.end;
            ids.extend(
                chunk
                    .records()
                    .map(|it| u32::from_le_bytes(it[..4].try_into().unwrap())),
            );
        }
    }
    ids
}

#[tokio::test]
async fn a_copy_holds_all_that_was_acknowledged_before_it_while_more_is_appended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Arc::new(FileJournal::open(&path, CAPACITY_MIN, None).unwrap());
    let answers = Arc::new(Answers::default());
    let stop = Arc::new(AtomicBool::new(false));
    let appending = std::thread::spawn({
        let (journal, answers, stop) = (journal.clone(), answers.clone(), stop.clone());
        move || {
            let mut id = 0;
            while !stop.load(Ordering::Relaxed) {
                let ticket = answers.ticket(id);
                // Each in a commit of its own, 2 KiB of the ring's MiB; a
                // hundred are kept.
                let taken = journal.append(&record(id, 1_900), Importance::Acknowledged, ticket);
                assert!(taken.is_ok());
                answers.wait_for(id);
                journal.release(u64::from(id.saturating_sub(100)) * 2_048);
                id += 1;
            }
        }
    });
    for n in 0..20 {
        // The last ones are beyond the ring's first lap.
        answers.wait_for(n * 40);
        let done = answers.done();
        let to = dir.path().join(format!("copy-{n}"));
        copy(&path, &to, None);
        let copied = FileJournal::open(&to, CAPACITY_MIN, None).unwrap();
        assert_eq!(copied.stats().lost, 0, "nothing looks damaged");
        let ids = ids(&copied).await;
        assert!(ids.is_sorted(), "in order");
        // What was released is in the databases.
        let first = ids.first().copied().unwrap_or(u32::MAX);
        assert!(done.range(first..).all(|id| ids.contains(id)));
        assert!(done.last().is_none_or(|last| ids.contains(last)));
        copied.close();
    }
    stop.store(true, Ordering::Relaxed);
    appending.join().unwrap();
    journal.close();
}

#[tokio::test]
async fn a_copy_starts_where_the_databases_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = FileJournal::open(&path, CAPACITY_MIN, None).unwrap();
    let answers = Arc::new(Answers::default());
    for id in 0..4 {
        let ticket = answers.ticket(id);
        let taken = journal.append(&record(id, 300), Importance::Acknowledged, ticket);
        assert!(taken.is_ok());
        answers.wait_for(id);
    }
    let at = |offset| {
        Some(JournalPosition {
            journal: journal.id(),
            offset,
        })
    };
    for (saved, expected) in [
        (None, vec![0, 1, 2, 3]),
        (at(2 * 512), vec![2, 3]),
        (at(4 * 512), vec![]),
    ] {
        let to = dir.path().join("copy");
        copy(&path, &to, saved);
        let copied = FileJournal::open(&to, CAPACITY_MIN, None).unwrap();
        assert_eq!(ids(&copied).await, expected);
        assert_eq!(copied.id(), journal.id(), "positions stay good");
        copied.close();
        copied.ended().await;
        // And with the databases further than the copy.
        let copied = FileJournal::open(&to, CAPACITY_MIN, at(9 * 512)).unwrap();
        assert_eq!(ids(&copied).await, [0_u32; 0]);
        copied.close();
        std::fs::remove_file(&to).unwrap();
    }
    journal.close();
}

#[test]
fn what_is_no_journal_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    std::fs::write(&path, [7; 8_192]).unwrap();
    let copied = copy_journal::<OpenError>(&path, &dir.path().join("copy"), || Ok(None));
    assert!(matches!(copied, Err(OpenError::Foreign)));
}
