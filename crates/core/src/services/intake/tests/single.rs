use super::*;

/// A site of two strips and one node.
struct Bench {
    site: Site,
    node: Node,
    answers: Answers,
    sent: usize,
}

impl Bench {
    async fn new() -> Self {
        Self::over(MemoryJournal::default()).await
    }

    async fn over(journal: MemoryJournal) -> Self {
        let site = Site::with_devices(2).await;
        let node = Node::start(&site, journal).await;
        Self {
            site,
            node,
            answers: Answers::default(),
            sent: 0,
        }
    }

    /// Sends as the first strip at QoS 1 and returns the message's number.
    fn send(&mut self, channel: Channel, body: &str) -> usize {
        self.sent += 1;
        let receipt = self.answers.receipt(self.sent);
        self.node.send(self.site.keys[0], channel, body, receipt);
        self.sent
    }

    fn sample(&mut self, seq: u32) -> usize {
        let body = format!(r#"{{"boot":1,"seq":{seq},"powerW":{seq}}}"#);
        self.send(Channel::Telemetry, &body)
    }

    async fn powers(&self) -> Vec<i32> {
        self.site.powers(self.site.keys[0]).await
    }
}

#[tokio::test]
async fn a_message_is_heard_at_once_and_acknowledged_after_the_commit() {
    let mut bench = Bench::new().await;
    let number = bench.send(Channel::Telemetry, r#"{"ts":1767323045123,"powerW":205.3}"#);
    assert_eq!(bench.node.ears.heard(), ["seen", "samples 2053"]);
    assert_eq!(bench.answers.of(number), None);
    let step = bench.node.turn().await.unwrap();
    assert_eq!((step.messages, step.samples), (1, 1));
    assert_eq!(bench.answers.of(number), Some("done"));
    assert_eq!(bench.powers().await, [2053]);
    assert_eq!(bench.node.committer.totals().samples, 1);
}

#[tokio::test]
async fn a_repeat_is_acknowledged_with_its_first_copy_and_stored_once() {
    let mut bench = Bench::new().await;
    let (first, second) = (bench.sample(7), bench.sample(7));
    assert_eq!(bench.node.ears.heard(), ["seen", "samples 70", "seen"]);
    bench.site.store.set_trouble(Trouble::Down);
    assert!(bench.node.committer.step().await.is_err());
    assert_eq!(
        (bench.answers.of(first), bench.answers.of(second)),
        (None, None)
    );
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert_eq!(bench.answers.of(first), Some("done"));
    assert_eq!(bench.answers.of(second), Some("done"));
    assert_eq!(bench.powers().await, [70]);
    assert_eq!(bench.node.committer.totals().repeats, 1);
}

#[tokio::test]
async fn samples_without_a_time_come_one_after_the_other_whichever_node_has_them() {
    let mut bench = Bench::new().await;
    let strip = bench.site.keys[0];
    let other = Node::start(&bench.site, MemoryJournal::default().with_id(2)).await;
    for power in 1..=3 {
        let body = format!(r#"{{"powerW":{power}}}"#);
        bench.send(Channel::Telemetry, &body);
        bench.node.work_off().await;
        let body = format!(r#"{{"powerW":{}}}"#, power + 10);
        other.send(strip, Channel::Telemetry, &body, bench.answers.receipt(99));
        other.work_off().await;
    }
    assert_eq!(bench.powers().await, [10, 110, 20, 120, 30, 130]);
}

#[tokio::test]
async fn without_the_database_messages_are_kept_in_the_journal_and_replayed_in_order() {
    let mut bench = Bench::new().await;
    bench.site.store.set_trouble(Trouble::Down);
    let first = bench.send(Channel::Telemetry, r#"{"powerW":1}"#);
    let second = bench.send(Channel::Event, r#"{"type":"button"}"#);
    assert!(bench.node.turn().await.is_none());
    assert_eq!(bench.answers.of(first), Some("done"), "from the journal");
    assert_eq!(bench.answers.of(second), Some("done"));
    let third = bench.send(Channel::Telemetry, r#"{"powerW":2}"#);
    assert_eq!(bench.answers.of(third), Some("done"));
    assert!(bench.powers().await.is_empty());
    assert!(bench.node.turn().await.is_none());
    assert!(!bench.node.committer.figures().direct);
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert_eq!(bench.powers().await, [10, 20]);
    assert_eq!(bench.site.events().await.len(), 1);
    let figures = bench.node.committer.figures();
    assert!(figures.direct);
    assert_eq!((figures.journalled, figures.replayed), (3, 3));
    let fourth = bench.send(Channel::Telemetry, r#"{"powerW":3}"#);
    assert_eq!(
        bench.answers.of(fourth),
        None,
        "the direct way is open again"
    );
    bench.node.work_off().await;
    assert_eq!(bench.powers().await, [10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_hangs_is_waited_for_no_longer_than_patience_lasts() {
    let mut bench = Bench::new().await;
    bench.site.store.set_trouble(Trouble::Hangs);
    let number = bench.sample(1);
    assert!(bench.node.turn().await.is_none());
    assert_eq!(bench.answers.of(number), Some("done"));
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert_eq!(bench.powers().await, [10]);
}

#[tokio::test]
async fn a_commit_that_was_made_but_not_answered_is_not_made_again() {
    // Nothing in the samples tells repeats: neither a time nor a sequence.
    let mut bench = Bench::new().await;
    bench.site.store.set_trouble(Trouble::Forgets);
    let first = bench.send(Channel::Telemetry, r#"{"powerW":1}"#);
    assert!(bench.node.committer.step().await.is_err());
    assert_eq!(bench.answers.of(first), None);
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert_eq!(bench.answers.of(first), Some("done"));
    assert_eq!(bench.powers().await, [10], "asked again directly");

    bench.site.store.set_trouble(Trouble::Forgets);
    bench.send(Channel::Telemetry, r#"{"powerW":2}"#);
    assert!(bench.node.turn().await.is_none());
    bench.send(Channel::Telemetry, r#"{"powerW":3}"#);
    assert!(
        bench.node.turn().await.is_none(),
        "a replay goes unanswered"
    );
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert_eq!(bench.powers().await, [10, 20, 30], "by way of the journal");
}

#[tokio::test]
async fn what_a_killed_process_left_in_the_journal_is_replayed_first() {
    let mut bench = Bench::new().await;
    bench.site.store.set_trouble(Trouble::Down);
    bench.send(Channel::Telemetry, r#"{"powerW":1}"#);
    bench.send(Channel::Status, r#"{"online":true,"boot":1,"seq":2}"#);
    let ack = r#"{"cmdId":"019b7a9c-0000-7000-8000-000000000001","status":"success"}"#;
    bench.node.turn().await;
    bench.send(Channel::Ack, ack);
    bench.node = bench.node.restart(&bench.site).await;
    let next = bench.send(Channel::Telemetry, r#"{"powerW":2}"#);
    assert_eq!(bench.answers.of(next), Some("done"), "behind the others");
    assert_eq!(bench.node.ears.heard(), ["seen", "samples 20"]);
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert_eq!(bench.powers().await, [10, 20]);
    assert_eq!(bench.site.reported(bench.site.keys[0]).await, Some((1, 2)));
    assert_eq!(bench.node.ears.heard(), ["restored true", "ack Success"]);
}

#[tokio::test]
async fn the_direct_way_stays_shut_until_all_of_an_earlier_journal_is_replayed() {
    let mut bench = Bench::over(MemoryJournal::new(4 << 20)).await;
    bench.site.store.set_trouble(Trouble::Down);
    for seq in 1..=12_000 {
        bench.sample(seq);
        if seq == 1 {
            assert!(bench.node.turn().await.is_none());
        }
    }
    let text = "x".repeat(4_000);
    for seq in 12_001..=12_300 {
        let body = format!(r#"{{"boot":1,"seq":{seq},"type":"e","data":{{"text":"{text}"}}}}"#);
        bench.send(Channel::Event, &body);
    }
    bench.node = bench.node.restart(&bench.site).await;
    bench.site.store.set_trouble(Trouble::None);
    let step = bench.node.turn().await.unwrap();
    assert!(step.replayed && step.messages < 12_300, "{step:?}");
    assert!(!bench.node.committer.figures().direct);
    let last = bench.send(Channel::Telemetry, r#"{"powerW":0}"#);
    assert_eq!(bench.answers.of(last), Some("done"), "behind the rest");
    bench.node.work_off().await;
    assert_eq!(bench.powers().await.len(), 12_001);
    assert_eq!(bench.site.events().await.len(), 300);
}

#[tokio::test]
async fn a_process_killed_between_commit_and_release_replays_nothing_twice() {
    let mut bench = Bench::new().await;
    bench.site.store.set_trouble(Trouble::Down);
    bench.send(Channel::Telemetry, r#"{"powerW":1}"#);
    assert!(bench.node.turn().await.is_none());
    bench.site.store.set_trouble(Trouble::Forgets);
    assert!(bench.node.turn().await.is_none());
    bench.site.store.set_trouble(Trouble::None);
    bench.node = bench.node.restart(&bench.site).await;
    bench.node.work_off().await;
    assert_eq!(bench.powers().await, [10]);
}

#[tokio::test]
async fn a_verdict_is_acknowledged_by_whoever_writes_what_follows() {
    let mut bench = Bench::new().await;
    let ack =
        r#"{"cmdId":"019b7a9c-0000-7000-8000-000000000001","status":"success","boot":1,"seq":5}"#;
    let first = bench.send(Channel::Ack, ack);
    bench.node.work_off().await;
    assert_eq!(bench.answers.of(first), None, "its mark alone is stored");
    for receipt in bench.node.ears.acks().into_iter().flatten() {
        receipt.done();
    }
    assert_eq!(bench.answers.of(first), Some("done"));
    // The first copy may have been lost on its way to the dispatcher.
    let again = bench.send(Channel::Ack, ack);
    for receipt in bench.node.ears.acks().into_iter().flatten() {
        receipt.failed();
    }
    assert_eq!(bench.answers.of(again), Some("failed"));
    let late = bench.send(Channel::Status, r#"{"online":true,"boot":1,"seq":4}"#);
    bench.node.work_off().await;
    assert_eq!(bench.answers.of(late), Some("done"));
    assert_eq!(bench.site.reported(bench.site.keys[0]).await, None, "older");
}

#[tokio::test]
async fn a_verdict_that_waits_for_the_database_holds_up_nobody_behind_it() {
    let mut bench = Bench::new().await;
    let ack = r#"{"cmdId":"019b7a9c-0000-7000-8000-000000000001","status":"success"}"#;
    let verdict = bench.send(Channel::Ack, ack);
    bench.site.store.set_trouble(Trouble::Down);
    bench.sample(1);
    assert!(bench.node.turn().await.is_none());
    assert_eq!(bench.answers.of(verdict), Some("done"), "by the journal");
    let held = bench.node.ears.acks();
    assert_eq!(held.len(), 1);
    drop(held);
    assert_eq!(bench.answers.of(verdict), Some("done"), "answered once");
}

#[tokio::test]
async fn a_full_queue_holds_readers_up_and_turns_the_rest_away() {
    let mut bench = Bench::new().await;
    bench.site.store.set_trouble(Trouble::Hangs);
    let mut count = 0;
    while bench.node.committer.has_room() {
        count += 1;
        bench.sample(count);
    }
    let held_up = bench.sent;
    assert!(held_up > 10_000, "{held_up}");
    let mut last = bench.sent;
    while bench.answers.of(last).is_none() {
        count += 1;
        last = bench.sample(count);
    }
    assert_eq!(bench.answers.of(last), Some("failed"));
    assert!(bench.sent < 40_000, "{}", bench.sent);
    assert_eq!(bench.node.committer.totals().unacknowledged, 1);
    bench.site.store.set_trouble(Trouble::None);
    let room = bench.node.committer.room();
    tokio::pin!(room);
    assert!(futures_pending(&mut room));
    bench.node.work_off().await;
    room.await;
    let kept = bench.powers().await.len();
    assert_eq!(kept, bench.sent - 1);
}

/// Whether `future` is not ready yet.
fn futures_pending(future: &mut std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    future.as_mut().poll(&mut context).is_pending()
}

#[tokio::test]
async fn a_full_journal_withholds_acknowledgements_until_there_is_room() {
    let mut bench = Bench::over(MemoryJournal::new(60)).await;
    bench.site.store.set_trouble(Trouble::Down);
    let kept = bench.sample(1);
    assert!(bench.node.turn().await.is_none());
    assert_eq!(bench.answers.of(kept), Some("done"));
    let mut withheld = kept;
    while bench.answers.of(withheld).is_some() {
        withheld = bench.sample(u32::try_from(withheld).unwrap() + 1);
    }
    let behind = bench.send(Channel::Telemetry, r#"{"boot":1,"seq":99,"powerW":0}"#);
    assert!(bench.node.turn().await.is_none());
    assert!(bench.node.committer.figures().journal_full);
    assert_eq!(bench.answers.of(withheld), None);
    assert_eq!(bench.answers.of(behind), None);
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert!(!bench.node.committer.figures().journal_full);
    assert_eq!(bench.answers.of(withheld), Some("done"));
    assert_eq!(bench.answers.of(behind), Some("done"));
    let expected = (1..=withheld).map(|n| i32::try_from(n).unwrap() * 10);
    let expected: Vec<_> = expected.chain([0]).collect();
    assert_eq!(bench.powers().await, expected);
}

#[tokio::test]
async fn readers_are_held_up_while_neither_database_nor_journal_have_room() {
    let mut bench = Bench::over(MemoryJournal::new(60)).await;
    bench.site.store.set_trouble(Trouble::Down);
    bench.sample(1);
    assert!(bench.node.turn().await.is_none());
    while bench.node.committer.has_room() {
        bench.sample(2);
    }
    assert_eq!(bench.node.committer.totals().unacknowledged, 0);
    bench.site.store.set_trouble(Trouble::None);
    bench.node.work_off().await;
    assert!(bench.node.committer.has_room());
    assert_eq!(bench.powers().await, [10, 20]);
}

#[tokio::test]
async fn what_a_revoked_device_sends_is_refused() {
    let mut bench = Bench::new().await;
    bench.node.committer.set_revoked(bench.site.keys[0], true);
    let number = bench.sample(1);
    assert_eq!(bench.answers.of(number), Some("revoked"));
    assert!(bench.node.ears.heard().is_empty());
    let refusals = bench.node.committer.refusals(bench.site.keys[0]).unwrap();
    assert_eq!(refusals.counts().count(), 1);
}

#[tokio::test]
async fn a_device_that_moved_to_another_node_is_judged_by_what_all_nodes_know() {
    let mut bench = Bench::new().await;
    let strip = bench.site.keys[0];
    bench.send(Channel::Status, r#"{"online":true,"boot":3,"seq":9}"#);
    bench.node.work_off().await;
    let other = Node::start(&bench.site, MemoryJournal::default().with_id(2)).await;
    let old = r#"{"online":true,"boot":3,"seq":8}"#;
    other.send(strip, Channel::Status, old, bench.answers.receipt(90));
    other.work_off().await;
    assert_eq!(bench.answers.of(90), Some("done"));
    assert_eq!(bench.site.reported(strip).await, Some((3, 9)));
    other.ears.heard();
    other.send(strip, Channel::Status, old, bench.answers.receipt(91));
    assert_eq!(other.ears.heard(), ["seen"], "known by now");
}
