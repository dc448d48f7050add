//! What is taken, when it is acknowledged, and when nothing more is.

use super::*;

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
