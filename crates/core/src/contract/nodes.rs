//! The contracts of what nodes share: [`Exchange`], [`LastSeen`] and
//! [`CommandIndex`]. Each takes two nodes' sides of one engine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a contract's failure is a test's failure"
)]

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::commands::{NOON, sample};
use crate::clock::Timestamp;
use crate::command::{Command, Input};
use crate::ids::{CommandId, DeviceKey, uuid_v7};
use crate::ports::nodes::{CommandIndex, Exchange, Heard, LastSeen, LogPosition};

type Entries = Vec<(LogPosition, Bytes)>;

/// The contract of [`Exchange`], on an empty log.
///
/// # Panics
/// Where the exchange breaks the contract.
pub async fn exchange(a: &dyn Exchange, b: &dyn Exchange) {
    assert!(a.connected() && b.connected());
    for n in 0..10 {
        let node = if n % 2 == 0 { a } else { b };
        node.log(Bytes::from(format!("entry {n}")));
    }
    let (at_a, at_b) = (log_of(a, 10).await, log_of(b, 10).await);
    assert_eq!(at_a, at_b, "every node hears all of it in the same order");
    let texts: HashSet<_> = at_a.iter().map(|(_, entry)| entry.clone()).collect();
    assert_eq!(texts.len(), 10);

    let all = a.read(None, 100).await.unwrap();
    assert_eq!(all, at_a, "what was heard can be read again");
    let rest = b.read(Some(&all[3].0), 2).await.unwrap();
    assert_eq!(rest, all[4..6], "after a position, so many");
    assert_eq!(b.read(Some(&all[9].0), 10).await.unwrap(), []);

    a.hint(Bytes::from_static(b"of a"));
    b.hint(Bytes::from_static(b"of b"));
    assert_eq!(a.next().await, Heard::Hint(Bytes::from_static(b"of b")));
    assert_eq!(b.next().await, Heard::Hint(Bytes::from_static(b"of a")));

    let binary = Bytes::from((0..=255).collect::<Vec<u8>>());
    a.log(binary.clone());
    assert_eq!(log_of(b, 1).await[0].1, binary);
    assert_eq!(log_of(a, 1).await[0].1, binary);
}

async fn log_of(node: &dyn Exchange, count: usize) -> Entries {
    let mut all = Vec::new();
    while all.len() < count {
        match node.next().await {
            Heard::Log(entries) => all.extend(entries),
            gone @ (Heard::Hint(_) | Heard::Gap { .. }) => {
                panic!("{gone:?} where the log was to go on")
            }
        }
    }
    all
}

/// The contract of [`LastSeen`], on an empty one.
///
/// # Panics
/// Where it breaks the contract.
pub async fn last_seen(a: &dyn LastSeen, b: &dyn LastSeen) {
    assert_eq!(a.last_seen().await.unwrap(), []);
    let at = |second: i64| Timestamp::from_millis(NOON.as_millis() + second * 1000);
    a.seen(DeviceKey(1), at(5));
    a.seen(DeviceKey(1), at(3));
    a.seen(DeviceKey(2), at(7));
    a.last_seen().await.unwrap();
    b.seen(DeviceKey(1), at(4));
    b.seen(DeviceKey(2), at(8));
    for node in [b, a] {
        let mut seen = node.last_seen().await.unwrap();
        seen.sort_unstable();
        let expected = [(DeviceKey(1), at(5)), (DeviceKey(2), at(8))];
        assert_eq!(seen, expected, "the newest of each, whoever noted it");
    }
}

/// The contract of [`CommandIndex`], on an empty one. `pass` lets time pass
/// by the index's clock.
///
/// # Panics
/// Where it breaks the contract.
pub async fn command_index<F>(
    a: &dyn CommandIndex,
    b: &dyn CommandIndex,
    pass: impl Fn(Duration) -> F,
) where
    F: Future<Output = ()>,
{
    the_rate_holds_across_nodes(a, b, pass).await;
    each_deadline_is_claimed_once_and_only_when_it_passed(a, b).await;
    a_final_command_has_no_deadline(a, b).await;
}

async fn the_rate_holds_across_nodes<F: Future<Output = ()>>(
    a: &dyn CommandIndex,
    b: &dyn CommandIndex,
    pass: impl Fn(Duration) -> F,
) {
    let (one, two) = (DeviceKey(1), DeviceKey(2));
    let first = a.admit(&[one, two, one]).await.unwrap();
    assert_eq!(first, [Ok(()), Ok(()), Ok(())]);
    let second = b.admit(&[one, one, two]).await.unwrap();
    assert_eq!((second[0], second[2]), (Ok(()), Ok(())));
    let wait = second[1].unwrap_err();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
    pass(wait).await;
    assert_eq!(a.admit(&[one]).await.unwrap(), [Ok(())]);
}

async fn each_deadline_is_claimed_once_and_only_when_it_passed(
    a: &dyn CommandIndex,
    b: &dyn CommandIndex,
) {
    let at = |ms: i64| Timestamp::from_millis(NOON.as_millis() + ms);
    let ids: Vec<_> = (0..200).map(|_| CommandId(uuid_v7(NOON))).collect();
    let deadlines: Vec<_> = ids.iter().copied().zip((0..200).map(at)).collect();
    a.arm(&deadlines).await.unwrap();
    a.arm(&deadlines[..1]).await.unwrap();

    let mut claimed = HashSet::new();
    loop {
        let some = b.claim(at(100), 7).await.unwrap();
        assert!(some.len() <= 7, "no more than asked for");
        let more = a.claim(at(100), 1_000).await.unwrap();
        if some.is_empty() && more.is_empty() {
            break;
        }
        for id in some.into_iter().chain(more) {
            assert!(claimed.insert(id), "claimed twice");
        }
    }
    assert_eq!(claimed, ids[..100].iter().copied().collect());
    assert_eq!(
        drain(b, at(1_000)).await,
        ids[100..].iter().copied().collect()
    );
}

async fn a_final_command_has_no_deadline(a: &dyn CommandIndex, b: &dyn CommandIndex) {
    let [pending, mut settled] = [sample(3, 1), sample(3, 2)];
    let deadline = |command: &Command| (command.id, command.deadline_at);
    a.arm(&[deadline(&pending), deadline(&settled)])
        .await
        .unwrap();
    a.show(&pending);
    a.show(&settled);
    settled.progress.apply(Input::Observed, NOON);
    a.show(&settled);
    assert_eq!(a.claim(NOON, 10).await.unwrap(), []);
    let late = settled.deadline_at + Duration::from_secs(1);
    assert_eq!(drain(b, late).await, HashSet::from([pending.id]));
}

/// All that passed before `before`: an index may answer in portions.
async fn drain(index: &dyn CommandIndex, before: Timestamp) -> HashSet<CommandId> {
    let mut all = HashSet::new();
    loop {
        let some = index.claim(before, 1_000).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}
