//! Committers on a real PostgreSQL.

mod refused;

use std::collections::{BTreeMap, BTreeSet};

use dormouse_core::ports::{
    DeviceAccess, DeviceStore, DeviceWrites, EventQuery, EventStore, NewDevice, Written,
};
use dormouse_testbed::postgres::{Options, Postgres as Server};
use tokio::task::JoinHandle;

use super::*;
use crate::store::postgres::testing::open;
use crate::store::postgres::{
    DORMOUSE, HISTORY, Postgres, PostgresDevices, PostgresEvents, PostgresHistory, PostgresIntake,
};

const DEVICES: usize = 8;
const MESSAGES: u32 = 60;

/// A database with some devices.
pub(super) struct Site {
    url: String,
    db: Postgres,
    history: Arc<PostgresHistory>,
    known: Known,
}

impl Site {
    pub(super) async fn at(url: String) -> Self {
        let db = open(url.clone(), &[DORMOUSE, HISTORY]).await;
        let insert = (0..DEVICES).map(|n| NewDevice {
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
        let devices = PostgresDevices::new(db.clone());
        let Written::All(stored) = devices.write(writes).await.unwrap() else {
            panic!("not written");
        };
        let known = stored.into_iter().map(|it| Arc::new(it.device)).collect();
        let history = PostgresHistory::open(db.clone(), SiteZone::UTC).await;
        Self {
            url,
            db,
            history: Arc::new(history.unwrap()),
            known: Known(known),
        }
    }

    pub(super) fn key(&self, device: usize) -> DeviceKey {
        self.known.0[device].key
    }

    pub(super) async fn powers(&self, device: usize) -> Vec<i32> {
        let series = SeriesId {
            device: self.key(device),
            socket: SocketId::STRIP,
        };
        let all = self.history.samples(series, EARLIEST..LATEST, 100_000);
        let samples = all.await.unwrap();
        samples
            .iter()
            .map(|it| it.values.power_dw.unwrap())
            .collect()
    }

    /// How many events of each device and type there are.
    async fn events(&self) -> BTreeMap<(DeviceKey, String), usize> {
        let events = PostgresEvents::new(self.db.clone());
        let mut found = BTreeMap::new();
        let mut after = None;
        loop {
            let query = EventQuery {
                after,
                limit: 100,
                ..EventQuery::default()
            };
            let page = events.list(&query).await.unwrap();
            let Some(last) = page.last() else {
                return found;
            };
            after = Some((last.ts, last.id));
            for event in page {
                let (key, _) = event.device.unwrap();
                *found.entry((key, event.kind.name())).or_default() += 1;
            }
        }
    }

    async fn reported(&self) -> Vec<Option<u32>> {
        let devices = PostgresDevices::new(self.db.clone());
        let mut rows = devices.changed_since(0).await.unwrap();
        rows.sort_by_key(|it| it.device.key);
        let reported = rows.into_iter().map(|it| it.device.reported);
        reported.map(|it| it.and_then(|it| it.seq)).collect()
    }
}

/// One process with connections of its own.
pub(super) struct Node {
    pub(super) db: Postgres,
    pub(super) committer: Arc<Committer>,
    keeping: JoinHandle<anyhow::Result<()>>,
}

impl Node {
    pub(super) async fn start(site: &Site, id: u64) -> Self {
        let db = open(site.url.clone(), &[DORMOUSE, HISTORY]).await;
        let history = PostgresHistory::open(db.clone(), SiteZone::UTC).await;
        let history = history.unwrap();
        let journal = Arc::new(MemoryJournal::default().with_id(id));
        let committer = Arc::new(Committer::new(CommitterParts {
            store: Arc::new(PostgresIntake::new(Arc::new(history))),
            journal: journal.clone(),
            reader: journal,
            directory: Arc::new(site.known.clone()),
            hot: Arc::new(MemoryHot::default()),
            downstream: Arc::new(Deaf),
        }));
        let keeping = spawn(&committer, &CancellationToken::new());
        Self {
            db,
            committer,
            keeping,
        }
    }

    pub(super) fn send(
        &self,
        device: DeviceKey,
        channel: Channel,
        body: &str,
        receipt: Box<dyn Receipt>,
    ) {
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

    /// Ends it as `kill -9` would.
    pub(super) async fn kill(self) {
        self.keeping.abort();
        self.keeping.await.unwrap_err();
        drop(self.committer);
    }
}

/// Notes which messages senders may forget.
#[derive(Clone, Default)]
pub(super) struct Sheet(pub(super) Arc<Mutex<BTreeSet<(usize, u32)>>>);

pub(super) struct Note(pub(super) Sheet, pub(super) (usize, u32));

impl Receipt for Note {
    fn done(self: Box<Self>) {
        self.0.0.lock().unwrap().insert(self.1);
    }

    fn refuse(self: Box<Self>, reason: &'static str) {
        panic!("refused: {reason}");
    }

    fn failed(self: Box<Self>) {}
}

/// Message `seq` of any device: samples with and without a time, events, and
/// last of all a report.
fn message(seq: u32) -> (Channel, String) {
    let ts = NOW.as_millis() - 1_000_000 + i64::from(seq);
    match seq % 4 {
        1 => (
            Channel::Telemetry,
            format!(r#"{{"boot":1,"seq":{seq},"powerW":{seq}}}"#),
        ),
        2 => (
            Channel::Telemetry,
            format!(r#"{{"ts":{ts},"powerW":{seq}}}"#),
        ),
        3 => (
            Channel::Event,
            format!(r#"{{"boot":1,"seq":{seq},"type":"e{seq}"}}"#),
        ),
        _ => (
            Channel::Status,
            format!(r#"{{"boot":1,"seq":{seq},"online":true}}"#),
        ),
    }
}

/// Draws numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_and_the_death_of_one_leave_what_one_node_would_have_left() {
    let site = Site::at(Server::shared().database().unwrap().url).await;
    let (first, second) = (Node::start(&site, 1).await, Node::start(&site, 2).await);
    let sheet = Sheet::default();
    let mut dice = Dice(11);
    let send = |node: &Node, device: usize, seq: u32| {
        let (channel, body) = message(seq);
        let note = Box::new(Note(sheet.clone(), (device, seq)));
        node.send(site.key(device), channel, &body, note);
    };
    for seq in 1..=MESSAGES / 2 {
        for device in 0..DEVICES {
            let nodes = [&first, &second];
            let node = usize::try_from(dice.below(2)).unwrap();
            send(nodes[node], device, seq);
            if dice.below(4) == 0 {
                send(nodes[1 - node], device, seq);
            }
        }
        // Now and then a commit of each is under way.
        if dice.below(6) == 0 {
            let some = sheet.0.lock().unwrap().len();
            until("some commit", || sheet.0.lock().unwrap().len() > some).await;
        }
    }
    first.kill().await;
    for seq in 1..=MESSAGES {
        for device in 0..DEVICES {
            let known = sheet.0.lock().unwrap().contains(&(device, seq));
            if !known {
                send(&second, device, seq);
            }
        }
    }
    let all = DEVICES * usize::try_from(MESSAGES).unwrap();
    until("all acknowledged", || sheet.0.lock().unwrap().len() == all).await;

    let of_kind = |kinds: &[u32]| -> Vec<u32> {
        let mine = (1..=MESSAGES).filter(|seq| kinds.contains(&(seq % 4)));
        mine.collect()
    };
    let expected: Vec<i32> = of_kind(&[1, 2])
        .iter()
        .map(|seq| i32::try_from(*seq).unwrap() * 10)
        .collect();
    let mut events = BTreeMap::new();
    for device in 0..DEVICES {
        let mut powers = site.powers(device).await;
        powers.sort_unstable();
        assert_eq!(powers, expected, "strip {device}");
        for seq in of_kind(&[3]) {
            events.insert((site.key(device), format!("device.e{seq}")), 1);
        }
    }
    assert_eq!(site.events().await, events);
    assert_eq!(site.reported().await, [Some(MESSAGES); DEVICES]);
    second.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_under_load_loses_and_doubles_nothing() {
    let server = Server::start(&Options::default()).unwrap();
    let site = Site::at(server.database().unwrap().url).await;
    let node = Node::start(&site, 1).await;
    let sheet = Sheet::default();
    let sent = std::cell::Cell::new(0);
    // Nothing but the order of their coming tells these samples apart.
    let send = |count: u32| {
        for _ in 0..count {
            sent.set(sent.get() + 1);
            let body = format!(r#"{{"powerW":{}}}"#, sent.get());
            let note = Box::new(Note(sheet.clone(), (0, sent.get())));
            node.send(site.key(0), Channel::Telemetry, &body, note);
        }
    };
    let acknowledged = |count: usize| {
        let sheet = sheet.clone();
        move || sheet.0.lock().unwrap().len() >= count
    };
    send(50);
    until("committed", acknowledged(1)).await;
    send(200);
    server.crash().unwrap();
    send(50);
    until("journalled", acknowledged(300)).await;
    server.run().unwrap();
    send(50);
    until("replayed", || node.committer.figures().direct).await;
    send(50);
    until("committed again", acknowledged(400)).await;
    until("kept", || node.committer.figures().waiting == 0).await;
    let expected: Vec<i32> = (1..=400).map(|n| n * 10).collect();
    assert_eq!(site.powers(0).await, expected);
    node.kill().await;
}
