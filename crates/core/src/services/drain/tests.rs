use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::memory::{MemoryHot, MemoryJournal};
use crate::ports::journal::{Journal, Receipt};
use crate::services::ingest::Inbound;
use crate::topic::Channel;

const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_000);

/// A database that can be taken away, and be killed after writing.
#[derive(Default)]
struct Database {
    samples: Mutex<BTreeMap<(u32, u8, i64), i32>>,
    controls: Mutex<Vec<(Control, bool)>>,
    progress: Mutex<Option<JournalPosition>>,
    inboxes: Mutex<HashMap<DeviceKey, Box<[u8]>>>,
    /// Refuses everything.
    locked: AtomicBool,
    /// Takes control messages, then fails before the samples.
    dies_between: AtomicBool,
}

#[async_trait]
impl Keeper for Database {
    async fn keep_control(&self, controls: Vec<Control>, replayed: bool) -> Result<(), PortError> {
        if self.locked.load(Ordering::Relaxed) {
            return Err(PortError::unavailable("locked"));
        }
        let mut kept = self.controls.lock().unwrap();
        kept.extend(controls.into_iter().map(|control| (control, replayed)));
        Ok(())
    }

    async fn keep_samples(
        &self,
        samples: Vec<DeviceSample>,
        progress: Progress,
    ) -> Result<(), PortError> {
        let gone = [&self.locked, &self.dies_between];
        if gone.iter().any(|gone| gone.load(Ordering::Relaxed)) {
            return Err(PortError::unavailable("locked"));
        }
        assert!(samples.is_sorted_by_key(|s| (s.device, s.sample.socket, s.sample.ts)));
        let mut kept = self.samples.lock().unwrap();
        for s in samples {
            let key = (s.device.0, s.sample.socket.get(), s.sample.ts.as_millis());
            kept.entry(key).or_insert(s.sample.values.power_dw.unwrap());
        }
        *self.progress.lock().unwrap() = Some(progress.position);
        self.inboxes.lock().unwrap().extend(progress.inboxes);
        Ok(())
    }
}

/// One life of the process.
struct Process {
    journal: Arc<MemoryJournal>,
    ingest: Ingest,
    drain: Drain,
}

impl Process {
    async fn start(journal: MemoryJournal, database: &Arc<Database>) -> Self {
        let journal = Arc::new(journal);
        let writes: Arc<dyn Journal> = journal.clone();
        let reads: Arc<dyn JournalReader> = journal.clone();
        let ingest = Ingest::new(writes, Arc::new(MemoryHot::default()), Arc::new(()));
        let saved = database.inboxes.lock().unwrap().clone();
        let saved = saved.into_iter().collect();
        let keeper: Arc<dyn Keeper> = database.clone();
        let drain = Drain::resume(reads, keeper, saved, &ingest).await.unwrap();
        Self {
            journal,
            ingest,
            drain,
        }
    }

    async fn restart(self, database: &Arc<Database>) -> Self {
        Self::start(self.journal.reopened(), database).await
    }

    fn send(&self, device: u32, channel: Channel, body: &str) {
        let message = Inbound {
            device: DeviceKey(device),
            channel,
            payload: body.as_bytes(),
            retained: false,
            will: false,
            received_at: NOW,
        };
        struct Fine;
        impl Receipt for Fine {
            fn done(self: Box<Self>) {}
            fn refuse(self: Box<Self>, reason: &'static str) {
                panic!("refused: {reason}");
            }
            fn failed(self: Box<Self>) {
                panic!("not kept");
            }
        }
        self.ingest.receive(&message, Some(Box::new(Fine)));
    }

    async fn drain_all(&self) {
        while self.drain.step().await.unwrap().bytes > 0 {}
    }
}

#[tokio::test]
async fn what_was_taken_arrives_sorted_and_the_journal_is_freed() {
    let database = Arc::new(Database::default());
    let process = Process::start(MemoryJournal::default(), &database).await;
    process.send(2, Channel::Telemetry, r#"{"ts":1767323045002,"powerW":2}"#);
    process.send(1, Channel::Telemetry, r#"{"ts":1767323045003,"powerW":3}"#);
    process.send(1, Channel::Telemetry, r#"{"ts":1767323045001,"powerW":1}"#);
    process.send(1, Channel::Event, r#"{"type":"button"}"#);
    process.drain.readable().await;
    let step = process.drain.step().await.unwrap();
    assert_eq!((step.samples, step.unreadable), (3, 0));
    assert_eq!(database.samples.lock().unwrap().len(), 3);
    assert_eq!(database.controls.lock().unwrap().len(), 1);
    assert_eq!(process.journal.start(), process.drain.position());
    assert_eq!(process.drain.step().await.unwrap(), Step::default());
}

#[tokio::test]
async fn a_locked_database_loses_nothing_and_doubles_nothing() {
    let database = Arc::new(Database::default());
    let process = Process::start(MemoryJournal::default(), &database).await;
    process.send(1, Channel::Telemetry, r#"{"powerW":1}"#);
    database.locked.store(true, Ordering::Relaxed);
    assert!(process.drain.step().await.is_err());
    process.send(1, Channel::Telemetry, r#"{"powerW":2}"#);
    database.locked.store(false, Ordering::Relaxed);
    process.drain_all().await;
    let powers: Vec<_> = database.samples.lock().unwrap().values().copied().collect();
    assert_eq!(powers, [10, 20]);
}

#[tokio::test]
async fn only_what_an_earlier_process_took_is_marked_as_replayed() {
    let database = Arc::new(Database::default());
    let process = Process::start(MemoryJournal::default(), &database).await;
    process.send(1, Channel::Event, r#"{"type":"before"}"#);
    let process = process.restart(&database).await;
    process.send(1, Channel::Event, r#"{"type":"after"}"#);
    process.drain_all().await;
    let replayed: Vec<_> = database
        .controls
        .lock()
        .unwrap()
        .iter()
        .map(|(_, replayed)| *replayed)
        .collect();
    assert_eq!(replayed, [true, false]);
}

#[tokio::test]
async fn the_order_of_reports_holds_across_a_restart() {
    let database = Arc::new(Database::default());
    let process = Process::start(MemoryJournal::default(), &database).await;
    process.send(1, Channel::Status, r#"{"online":true,"boot":4,"seq":9}"#);
    process.drain_all().await;
    let process = process.restart(&database).await;
    process.send(1, Channel::Status, r#"{"online":true,"boot":4,"seq":8}"#);
    assert_eq!(process.ingest.totals().repeats, 1);
}

#[derive(Debug, Clone)]
enum Act {
    /// A sample of one of three devices with this sequence number.
    Send(u32, u32),
    /// The same again, some messages back.
    Again(usize),
    Drain,
    DrainHalf,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_u32..3, 0_u32..3).prop_map(|(device, skip)| Act::Send(device, skip)),
        3 => (0_usize..50).prop_map(Act::Again),
        1 => Just(Act::Drain),
        1 => Just(Act::DrainHalf),
        1 => Just(Act::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_sample_arrives_once_whatever_happens(acts in prop::collection::vec(act(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(acts))?;
    }
}

/// Samples carry no stamp, so that only the inboxes can tell repeats.
async fn run(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let database = Arc::new(Database::default());
    let mut process = Process::start(MemoryJournal::default(), &database).await;
    let mut sent: Vec<(u32, u32)> = Vec::new();
    let mut seq = [0_u32; 3];
    let send = |process: &Process, device: u32, seq: u32| {
        let body = format!(r#"{{"boot":1,"seq":{seq},"powerW":{seq}}}"#);
        process.send(device, Channel::Telemetry, &body);
    };
    for act in acts {
        match act {
            Act::Send(device, skip) => {
                let seq = &mut seq[device as usize];
                *seq += 1 + skip;
                send(&process, device, *seq);
                sent.push((device, *seq));
            }
            Act::Again(back) => {
                if let Some((device, seq)) = sent.iter().rev().nth(back) {
                    send(&process, *device, *seq);
                }
            }
            Act::Drain => process.drain_all().await,
            Act::DrainHalf => {
                database.dies_between.store(true, Ordering::Relaxed);
                process.drain.step().await.ok();
                database.dies_between.store(false, Ordering::Relaxed);
            }
            Act::Crash => process = process.restart(&database).await,
        }
    }
    process.drain_all().await;
    let mut expected: Vec<_> = sent
        .iter()
        .map(|(d, s)| (*d, i32::try_from(*s).unwrap() * 10))
        .collect();
    expected.sort_unstable();
    let kept = database.samples.lock().unwrap();
    let mut kept: Vec<_> = kept.iter().map(|((d, _, _), power)| (*d, *power)).collect();
    kept.sort_unstable();
    prop_assert_eq!(kept, expected);
    Ok(())
}
