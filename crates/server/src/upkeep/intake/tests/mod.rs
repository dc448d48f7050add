mod postgres;
mod refusals;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dormouse_core::clock::Timestamp;
use dormouse_core::decode::{Ack, Status};
use dormouse_core::device::{Device, DeviceSettings, DeviceState};
use dormouse_core::directory::Directory;
use dormouse_core::ids::{DeviceId, DeviceKey, SocketId};
use dormouse_core::memory::{
    MemoryDevices, MemoryEvents, MemoryHistory, MemoryHot, MemoryIntake, MemoryJournal, Trouble,
};
use dormouse_core::ports::history::{EARLIEST, HistoryStore, LATEST, SeriesId};
use dormouse_core::ports::journal::{Journal, JournalReader, Receipt};
use dormouse_core::record::EventRecord;
use dormouse_core::sample::Sample;
use dormouse_core::services::ingest::{Downstream, Inbound};
use dormouse_core::services::intake::{CommitterParts, WayIn};
use dormouse_core::site::SiteZone;
use dormouse_core::topic::Channel;

use super::*;
use crate::journal::{CAPACITY_MIN, FileJournal};

const STRIP: DeviceKey = DeviceKey(1);
const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_000);
const DEADLINE: Duration = Duration::from_secs(60);

struct Deaf;

impl Downstream for Deaf {
    fn seen(&self, _: DeviceKey, _: Timestamp) {}
    fn samples(&self, _: DeviceKey, _: &[Sample]) {}
    fn status(&self, _: DeviceKey, _: &Status, _: Timestamp) {}
    fn restored(&self, _: DeviceKey, _: &Status, _: Timestamp) {}
    fn will(&self, _: DeviceKey, _: &Status, _: Timestamp) {}
    fn ack(&self, _: DeviceKey, _: &Ack, _: Timestamp, _: Option<Box<dyn Receipt>>) {}
    fn event(&self, _: DeviceKey, _: &EventRecord, _: Timestamp) {}
}

/// The devices as they were when the test began.
#[derive(Clone)]
struct Known(Vec<Arc<Device>>);

impl Directory for Known {
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        self.0.iter().find(|it| it.key == key).cloned()
    }

    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.0.iter().find(|it| it.id == *id).cloned()
    }

    fn all(&self) -> Vec<Arc<Device>> {
        self.0.clone()
    }
}

#[derive(Default)]
struct Answers {
    done: AtomicUsize,
    failed: Mutex<Vec<&'static str>>,
}

struct Ticket(Arc<Answers>);

impl Receipt for Ticket {
    fn done(self: Box<Self>) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }

    fn refuse(self: Box<Self>, reason: &'static str) {
        self.0.failed.lock().unwrap().push(reason);
    }

    fn failed(self: Box<Self>) {
        self.0.failed.lock().unwrap().push("failed");
    }
}

struct Bench {
    history: Arc<MemoryHistory>,
    store: Arc<MemoryIntake>,
    answers: Arc<Answers>,
    sent: u32,
}

impl Bench {
    fn new() -> Self {
        let history = Arc::new(MemoryHistory::new(SiteZone::named("UTC").unwrap()));
        let store = MemoryIntake::new(
            history.clone(),
            Arc::new(MemoryEvents::default()),
            Arc::new(MemoryDevices::default()),
        );
        Self {
            history,
            store: Arc::new(store),
            answers: Arc::default(),
            sent: 0,
        }
    }

    fn committer<J: Journal + JournalReader>(&self, journal: &Arc<J>) -> Arc<Committer> {
        let strip = Device {
            key: STRIP,
            id: DeviceId::parse("strip").unwrap(),
            state: DeviceState::Active,
            settings: DeviceSettings::default(),
            reported: None,
            version: 1,
            created_at: NOW,
        };
        Arc::new(Committer::new(CommitterParts {
            store: self.store.clone(),
            journal: journal.clone(),
            reader: journal.clone(),
            directory: Arc::new(Known(vec![Arc::new(strip)])),
            hot: Arc::new(MemoryHot::default()),
            downstream: Arc::new(Deaf),
        }))
    }

    /// One sample, known by its number alone.
    fn send(&mut self, committer: &Committer) {
        self.sent += 1;
        let body = format!(r#"{{"boot":1,"seq":{0},"powerW":{0}}}"#, self.sent);
        let message = Inbound {
            device: STRIP,
            channel: Channel::Telemetry,
            payload: body.as_bytes(),
            retained: false,
            will: false,
            received_at: NOW,
        };
        let ticket = Box::new(Ticket(Arc::clone(&self.answers)));
        committer.receive(&message, Some(ticket));
    }

    fn done(&self) -> usize {
        self.answers.done.load(Ordering::Relaxed)
    }

    async fn powers(&self) -> Vec<i32> {
        let series = SeriesId {
            device: STRIP,
            socket: SocketId::STRIP,
        };
        let all = self.history.samples(series, EARLIEST..LATEST, usize::MAX);
        let samples = all.await.unwrap();
        samples
            .iter()
            .map(|it| it.values.power_dw.unwrap())
            .collect()
    }

    fn expected(&self) -> Vec<i32> {
        (1..=self.sent)
            .map(|n| i32::try_from(n).unwrap() * 10)
            .collect()
    }
}

fn spawn(
    committer: &Arc<Committer>,
    stop: &CancellationToken,
) -> tokio::task::JoinHandle<anyhow::Result<()>> {
    #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::spawn(keep(Arc::clone(committer), stop.clone()))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let look = async {
        while !is_so() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(DEADLINE, look).await.is_ok(), "{what}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_turns_messages_aside_and_its_end_brings_them_back_in_order() {
    let mut bench = Bench::new();
    let committer = bench.committer(&Arc::new(MemoryJournal::default()));
    let stop = CancellationToken::new();
    let keeping = spawn(&committer, &stop);
    bench.send(&committer);
    until("committed", || bench.done() == 1).await;
    assert!(committer.figures().direct);
    for (trouble, sent) in [(Trouble::Down, 2), (Trouble::Hangs, 3)] {
        bench.store.set_trouble(trouble);
        bench.send(&committer);
        until("journalled", || bench.done() == sent).await;
        assert!(!committer.figures().direct, "{trouble:?}");
        let said = describe(&committer.figures()).unwrap();
        assert!(said.unwrap().contains("journal"));
        bench.store.set_trouble(Trouble::None);
        until("replayed", || committer.figures().direct).await;
        assert_eq!(describe(&committer.figures()), Ok(None));
    }
    assert_eq!(bench.powers().await, bench.expected());
    stop.cancel();
    keeping.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_passes_at_once_turns_nothing_aside() {
    let mut bench = Bench::new();
    let committer = bench.committer(&Arc::new(MemoryJournal::default()));
    let mut keeper = Keeper::new(&committer);
    bench.store.set_trouble(Trouble::Fails);
    bench.send(&committer);
    assert_eq!(keeper.step().await, None);
    assert_eq!(keeper.wait(), None, "tried again at once");
    bench.store.set_trouble(Trouble::None);
    committer.ready().await;
    assert_eq!(keeper.step().await.unwrap().messages, 1);
    assert!(committer.figures().direct);
    assert_eq!(committer.figures().journalled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_what_waits_or_leaves_it_to_the_journal() {
    for trouble in [Trouble::None, Trouble::Down, Trouble::Hangs] {
        let mut bench = Bench::new();
        let journal = Arc::new(MemoryJournal::default());
        let committer = bench.committer(&journal);
        bench.store.set_trouble(trouble);
        for _ in 0..5 {
            bench.send(&committer);
        }
        let stop = CancellationToken::new();
        stop.cancel();
        keep(Arc::clone(&committer), stop).await.unwrap();
        assert_eq!(bench.done(), 5, "{trouble:?}");
        bench.store.set_trouble(Trouble::None);
        let next = bench.committer(&Arc::new(journal.reopened()));
        while next.step().await.unwrap() != Step::default() {}
        assert_eq!(bench.powers().await, bench.expected());
    }
}

#[tokio::test]
async fn a_journal_file_outlives_a_process_killed_during_an_outage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mut bench = Bench::new();
    bench.store.set_trouble(Trouble::Down);
    for life in 1..=3_usize {
        let journal = Arc::new(FileJournal::open(&path, CAPACITY_MIN, None).unwrap());
        let committer = bench.committer(&journal);
        let keeping = spawn(&committer, &CancellationToken::new());
        for _ in 0..100 {
            bench.send(&committer);
        }
        until("journalled", || bench.done() == life * 100).await;
        if life == 3 {
            bench.store.set_trouble(Trouble::None);
            until("replayed", || committer.figures().direct).await;
            bench.send(&committer);
            until("committed", || bench.done() == 301).await;
            assert_eq!(committer.figures().replayed, 300);
        }
        // Killed: nothing is written any more, and nothing is told.
        keeping.abort();
        keeping.await.unwrap_err();
        journal.close();
        journal.ended().await;
    }
    assert_eq!(bench.powers().await, bench.expected());
    let journal = Arc::new(FileJournal::open(&path, CAPACITY_MIN, None).unwrap());
    let next = bench.committer(&journal);
    while next.step().await.unwrap() != Step::default() {}
    assert_eq!(bench.powers().await, bench.expected(), "nothing twice");
    assert!(bench.answers.failed.lock().unwrap().is_empty());
}
