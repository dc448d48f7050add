//! Whatever is written and whenever the power goes: what is there afterwards
//! is a prefix of what was appended, with all that was acknowledged in it.

use std::sync::Arc;

use dormouse_core::ports::journal::{JournalPosition, JournalReader};
use proptest::prelude::*;

use super::{Answers, FileJournal, append, empty_disk, ids, new_journal, read_all, reopen};

#[derive(Debug, Clone)]
enum Act {
    /// Records of these lengths, then wait until they are durable.
    Commit(Vec<usize>),
    /// The power goes while records of these lengths are under way; which
    /// sectors reach the disk is drawn from the number.
    PowerCut(Vec<usize>, u64),
    /// The databases take what is there.
    Drain,
}

fn act() -> impl Strategy<Value = Act> {
    let lengths = || prop::collection::vec(4_usize..3000, 1..6);
    prop_oneof![
        4 => lengths().prop_map(Act::Commit),
        2 => (lengths(), any::<u64>()).prop_map(|(lengths, seed)| Act::PowerCut(lengths, seed)),
        1 => Just(Act::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_power_cut_leaves_a_prefix_with_all_that_was_acknowledged(
        acts in prop::collection::vec(act(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(acts))?;
    }
}

async fn run(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let answers = Arc::new(Answers::default());
    let mut disk = empty_disk();
    let mut journal = new_journal(&disk);
    // What was appended and not drained, in order; how far the drain has come.
    let mut appended: Vec<u32> = Vec::new();
    let mut drained = JournalPosition {
        journal: journal.id(),
        offset: journal.start(),
    };
    let mut next = 0..;
    for act in acts {
        match act {
            Act::Commit(lengths) => {
                if journal.stats().used > super::CAPACITY / 2 {
                    drain(&journal, &mut drained, &mut appended).await;
                }
                for (id, len) in next.by_ref().zip(lengths) {
                    append(&journal, &answers, id, len);
                    appended.push(id);
                }
                if let Some(last) = appended.last() {
                    answers.wait_for(*last);
                }
            }
            Act::PowerCut(lengths, mut seed) => {
                disk.hold();
                for (id, len) in next.by_ref().zip(lengths) {
                    append(&journal, &answers, id, len);
                    appended.push(id);
                }
                disk.wait_for_sync();
                let acknowledged = answers.done();
                let left = disk.after_power_cut(|| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    seed >> 63 == 1
                });
                disk.let_go();
                (disk, journal) = reopen(left, Some(drained));
                let found = read_all(&journal, journal.start()).await;
                prop_assert!(appended.starts_with(&found), "{found:?} of {appended:?}");
                for id in appended.iter().filter(|id| acknowledged.contains(id)) {
                    prop_assert!(found.contains(id), "{id} was acknowledged");
                }
                prop_assert_eq!(journal.stats().lost, 0);
                appended = found;
            }
            Act::Drain => drain(&journal, &mut drained, &mut appended).await,
        }
    }
    Ok(())
}

/// Reads and releases everything durable.
async fn drain(journal: &FileJournal, drained: &mut JournalPosition, appended: &mut Vec<u32>) {
    loop {
        let chunks = journal.read(drained.offset, 5000).await.unwrap();
        let Some(last) = chunks.last() else { break };
        drained.offset = last.end;
        let moved = ids(&chunks);
        assert!(appended.starts_with(&moved));
        appended.drain(..moved.len());
    }
    journal.release(drained.offset);
}
