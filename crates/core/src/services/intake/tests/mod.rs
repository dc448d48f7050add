mod cluster;
mod refused;
mod single;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::Timestamp;
use crate::decode::{Ack, Status};
use crate::device::{Device, DeviceSettings, DeviceState};
use crate::directory::Directory;
use crate::event::Event;
use crate::ids::{DeviceId, DeviceKey, SocketId};
use crate::memory::{
    MemoryDevices, MemoryEvents, MemoryHistory, MemoryHot, MemoryIntake, MemoryJournal, Trouble,
};
use crate::ports::history::{EARLIEST, HistoryStore, LATEST, SeriesId};
use crate::ports::intake::IntakeBatch;
use crate::ports::{
    DeviceAccess, DeviceStore, DeviceWrites, EventQuery, EventStore, NewDevice, PortError,
    StoredDevice, Written,
};
use crate::record::EventRecord;
use crate::sample::Sample;
use crate::services::ingest::Downstream;
use crate::site::SiteZone;
use crate::topic::Channel;

const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_000);
/// How long a test's keeper waits for a step.
const PATIENCE: Duration = Duration::from_secs(3);

/// The database that nodes share.
struct Site {
    history: Arc<MemoryHistory>,
    events: Arc<MemoryEvents>,
    devices: Arc<MemoryDevices>,
    store: Arc<MemoryIntake>,
    keys: Vec<DeviceKey>,
}

/// What a store says that refuses samples with this current.
fn refuse_current(current_ma: i32) -> impl Fn(&IntakeBatch) -> Option<String> {
    move |batch| {
        let mut samples = batch.samples.iter();
        let bad = samples.find(|it| it.sample.values.current_ma == Some(current_ma))?;
        Some(format!("device {} is ill", bad.device.0))
    }
}

impl Site {
    async fn with_devices(count: u32) -> Self {
        let zone = SiteZone::named("UTC").unwrap();
        let history = Arc::new(MemoryHistory::new(zone));
        let events = Arc::new(MemoryEvents::default());
        let devices = Arc::new(MemoryDevices::default());
        let insert = (0..count).map(|n| NewDevice {
            id: DeviceId::parse(&format!("strip-{n}")).unwrap(),
            state: DeviceState::Active,
            settings: DeviceSettings::default(),
            access: DeviceAccess::None,
            created_at: NOW,
        });
        let writes = DeviceWrites {
            insert: insert.collect(),
            swap: Vec::new(),
        };
        let Written::All(stored) = devices.write(writes).await.unwrap() else {
            panic!("not written");
        };
        let store = Arc::new(MemoryIntake::new(
            history.clone(),
            events.clone(),
            devices.clone(),
        ));
        Self {
            keys: stored.iter().map(|it| it.device.key).collect(),
            history,
            events,
            devices,
            store,
        }
    }

    /// Every sample of a device's totals.
    async fn samples(&self, device: DeviceKey) -> Vec<Sample> {
        let series = SeriesId {
            device,
            socket: SocketId::STRIP,
        };
        let all = self.history.samples(series, EARLIEST..LATEST, usize::MAX);
        all.await.unwrap()
    }

    /// The power of each, in order of their times, 0.1 W.
    async fn powers(&self, device: DeviceKey) -> Vec<i32> {
        let samples = self.samples(device).await;
        samples
            .iter()
            .map(|it| it.values.power_dw.unwrap())
            .collect()
    }

    async fn events(&self) -> Vec<Event> {
        let query = EventQuery {
            limit: usize::MAX,
            ..EventQuery::default()
        };
        self.events.list(&query).await.unwrap()
    }

    async fn stored(&self) -> BTreeMap<DeviceKey, StoredDevice> {
        let rows = self.devices.changed_since(0).await.unwrap();
        rows.into_iter().map(|it| (it.device.key, it)).collect()
    }

    /// The (boot, seq) of a device's last report.
    async fn reported(&self, device: DeviceKey) -> Option<(u32, u32)> {
        let stored = self.stored().await;
        let reported = stored[&device].device.reported.clone()?;
        Some((reported.boot?, reported.seq?))
    }
}

/// The devices as they were when the node started.
struct Snapshot(BTreeMap<DeviceKey, Arc<Device>>);

impl Directory for Snapshot {
    fn by_key(&self, key: DeviceKey) -> Option<Arc<Device>> {
        self.0.get(&key).cloned()
    }

    fn by_id(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.0.values().find(|it| it.id == *id).cloned()
    }

    fn all(&self) -> Vec<Arc<Device>> {
        self.0.values().cloned().collect()
    }
}

/// Writes down what it hears, in short; keeps receipts of acks.
#[derive(Default)]
struct Ears {
    heard: Mutex<Vec<String>>,
    acks: Mutex<Vec<Option<Box<dyn Receipt>>>>,
}

impl Ears {
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    fn note(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }

    fn acks(&self) -> Vec<Option<Box<dyn Receipt>>> {
        std::mem::take(&mut self.acks.lock().unwrap())
    }
}

impl Downstream for Ears {
    fn seen(&self, _device: DeviceKey, _at: Timestamp) {
        self.note("seen".to_owned());
    }

    fn samples(&self, _device: DeviceKey, samples: &[Sample]) {
        let power = |s: &Sample| s.values.power_dw.unwrap_or(0).to_string();
        let all: Vec<_> = samples.iter().map(power).collect();
        self.note(format!("samples {}", all.join(" ")));
    }

    fn status(&self, _device: DeviceKey, status: &Status, _at: Timestamp) {
        self.note(format!("status {}", status.online));
    }

    fn restored(&self, _device: DeviceKey, status: &Status, _at: Timestamp) {
        self.note(format!("restored {}", status.online));
    }

    fn will(&self, _device: DeviceKey, _will: &Status, _at: Timestamp) {
        self.note("will".to_owned());
    }

    fn ack(
        &self,
        _device: DeviceKey,
        ack: &Ack,
        _at: Timestamp,
        receipt: Option<Box<dyn Receipt>>,
    ) {
        self.note(format!("ack {:?}", ack.status));
        self.acks.lock().unwrap().push(receipt);
    }

    fn event(&self, _device: DeviceKey, event: &EventRecord, _at: Timestamp) {
        self.note(format!("event {}", event.kind));
    }
}

/// One process.
struct Node {
    committer: Committer,
    journal: Arc<MemoryJournal>,
    ears: Arc<Ears>,
}

impl Node {
    async fn start(site: &Site, journal: MemoryJournal) -> Self {
        let (journal, ears) = (Arc::new(journal), Arc::new(Ears::default()));
        let devices = site.stored().await.into_iter();
        let known = devices
            .map(|(key, it)| (key, Arc::new(it.device)))
            .collect();
        Self {
            committer: Committer::new(CommitterParts {
                store: site.store.clone(),
                journal: journal.clone(),
                reader: journal.clone(),
                directory: Arc::new(Snapshot(known)),
                hot: Arc::new(MemoryHot::default()),
                downstream: ears.clone(),
            }),
            journal,
            ears,
        }
    }

    /// The next process on the same machine.
    async fn restart(self, site: &Site) -> Self {
        let journal = self.journal.reopened();
        drop(self);
        Self::start(site, journal).await
    }

    fn send(&self, device: DeviceKey, channel: Channel, body: &str, receipt: Box<dyn Receipt>) {
        let message = Inbound {
            device,
            channel,
            payload: body.as_bytes(),
            retained: false,
            will: false,
            received_at: NOW,
        };
        self.committer.receive(&message, Some(receipt));
    }

    /// What its keeper does: a step, and into the journal where that failed.
    async fn turn(&self) -> Option<Step> {
        let step = tokio::time::timeout(PATIENCE, self.committer.step()).await;
        match step {
            Ok(Ok(step)) => Some(step),
            Ok(Err(PortError::Unavailable(_))) | Err(_) => {
                self.committer.spill().await;
                None
            }
            Ok(Err(error)) => panic!("{error}"),
        }
    }

    /// Turns until nothing is left to do.
    async fn work_off(&self) {
        while let Some(step) = self.turn().await {
            let figures = self.committer.figures();
            if step == Step::default() && figures.direct && figures.waiting == 0 {
                return;
            }
        }
        panic!("the store does not work");
    }
}

/// What senders were answered, by the number of their message.
#[derive(Debug, Clone, Default)]
struct Answers(Arc<Mutex<BTreeMap<usize, &'static str>>>);

impl Answers {
    fn receipt(&self, number: usize) -> Box<dyn Receipt> {
        Box::new(Ticket {
            answers: self.clone(),
            number,
            answered: false,
        })
    }

    fn of(&self, number: usize) -> Option<&'static str> {
        self.0.lock().unwrap().get(&number).copied()
    }
}

struct Ticket {
    answers: Answers,
    number: usize,
    answered: bool,
}

impl Ticket {
    fn answer(&mut self, answer: &'static str) {
        self.answered = true;
        self.answers.0.lock().unwrap().insert(self.number, answer);
    }
}

impl Receipt for Ticket {
    fn done(mut self: Box<Self>) {
        self.answer("done");
    }

    fn refuse(mut self: Box<Self>, reason: &'static str) {
        self.answer(reason);
    }

    fn failed(mut self: Box<Self>) {
        self.answer("failed");
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.answer("failed");
        }
    }
}
