//! What a file that is opened again holds.

use super::*;

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
