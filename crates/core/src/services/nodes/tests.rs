use bytes::Bytes;

use super::*;
use crate::access::Actor;
use crate::clock::{ManualClock, Timestamp};
use crate::command::{Batch, Command, OnPending, Order};
use crate::device::DeviceSettings;
use crate::event::{Event, Origin};
use crate::ids::{BatchId, DeviceId, SocketId, uuid_v7};
use crate::live::{Drained, Subscription, Topic};
use crate::memory::{
    MemoryAudit, MemoryCommands, MemoryDevices, MemoryEvents, MemoryExchange, MemoryHub,
    MemoryIncidents, MemoryIndex, MemoryLastSeen, MemoryLeases, MemorySettings, Outbox,
};
use crate::ports::{
    CommandStore, CommandWrite, DeviceChange, DeviceWatcher, EnrolSink, KickReason, SessionControl,
};
use crate::presence::OfflineAfter;
use crate::reported::RelayReport;
use crate::sample::{Sample, Values};
use crate::services::audit::AuditLog;
use crate::services::dispatcher::{
    Change, CommandNodes, DispatcherParts, Fleet, Outlet, dispatcher,
};
use crate::services::events::EventLog;
use crate::services::incidents::Incidents;
use crate::services::presence::{PresenceNodes, PresenceParts};
use crate::services::registry::{JoinMode, RegistryParts};
use crate::wire::{Action, EnrolBody};

const S: Duration = Duration::from_secs(1);

/// What none of these tests looks at.
#[derive(Debug)]
struct Outside;

impl SessionControl for Outside {
    fn kick(&self, _: &DeviceId, _: KickReason) {}
}

impl EnrolSink for Outside {
    fn hand_over(&self, _: &DeviceId, _: &EnrolBody) -> bool {
        false
    }
}

impl DeviceWatcher for Outside {
    fn changed(&self, _: &Device, _: DeviceChange, _: &Origin) {}
}

impl Fleet for Outside {
    fn device(&self, _: &DeviceId) -> Option<Arc<Device>> {
        None
    }

    fn at_location(&self, _: &str) -> Vec<Arc<Device>> {
        Vec::new()
    }

    fn is_online(&self, _: DeviceKey) -> bool {
        true
    }

    fn relay_reported(&self, _: RelayReport) {}
}

impl Outlet for Outside {
    fn command(&self, _: &Arc<Command>, _: Change<'_>) {}

    fn batch(&self, _: &Arc<Batch>) {}

    fn event(&self, _: Event) {}
}

#[derive(Clone)]
struct Site {
    clock: Arc<ManualClock>,
    hub: Arc<MemoryHub>,
    leases: Arc<MemoryLeases>,
    devices: Arc<MemoryDevices>,
    settings: Arc<MemorySettings>,
    commands: Arc<MemoryCommands>,
}

struct Node {
    nodes: Nodes,
    exchange: Arc<MemoryExchange>,
    heartbeat: LeaseKeeper,
}

impl Site {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_355_200_000)));
        Self {
            hub: MemoryHub::new(),
            leases: Arc::new(MemoryLeases::new(clock.clone())),
            devices: Arc::default(),
            settings: Arc::default(),
            commands: Arc::default(),
            clock,
        }
    }

    async fn join(&self, name: &str) -> Node {
        let node = NodeId(name.into());
        let exchange = Arc::new(self.hub.join());
        let registry = self.registry().await;
        let live = Arc::new(LiveHub::new(registry.clone()));
        let lead = LeaseKeeper::new(
            self.leases.clone(),
            PRESENCE,
            node.clone(),
            self.clock.clone(),
        );
        let lead = Arc::new(lead);
        let presence = self.presence(&node, &exchange, &registry, &live, &lead);
        let (dispatcher, _) = dispatcher(DispatcherParts {
            store: self.commands.clone(),
            sink: Arc::new(Outbox::default()),
            fleet: Arc::new(Outside),
            outlet: Arc::new(Outside),
            clock: self.clock.clone(),
            nodes: Some(CommandNodes {
                node: node.clone(),
                index: Arc::new(MemoryIndex::new(self.clock.clone())),
                exchange: exchange.clone(),
            }),
        });
        let heartbeat = LeaseKeeper::new(
            self.leases.clone(),
            format!("{NODE_PREFIX}{name}"),
            node.clone(),
            self.clock.clone(),
        );
        heartbeat.attempt().await.unwrap();
        let nodes = Nodes::new(NodesParts {
            node,
            version: "1.2.3",
            leases: self.leases.clone(),
            lead,
            exchange: exchange.clone(),
            presence,
            dispatcher,
            registry,
            live,
            clock: self.clock.clone(),
        });
        Node {
            nodes,
            exchange,
            heartbeat,
        }
    }

    async fn registry(&self) -> Arc<Registry> {
        let audit = AuditLog::new(Arc::new(MemoryAudit::default()), self.clock.clone());
        let registry = Registry::load(RegistryParts {
            store: self.devices.clone(),
            settings: self.settings.clone(),
            audit: Arc::new(audit),
            sessions: Arc::new(Outside),
            enrol: Arc::new(Outside),
            watchers: vec![Arc::new(Outside)],
            clock: self.clock.clone(),
            join_mode: JoinMode::Approve,
            pending_max: 10,
        });
        Arc::new(registry.await.unwrap())
    }

    fn presence(
        &self,
        node: &NodeId,
        exchange: &Arc<MemoryExchange>,
        registry: &Arc<Registry>,
        live: &Arc<LiveHub>,
        lead: &Arc<LeaseKeeper>,
    ) -> Arc<PresenceTracker> {
        let store = Arc::new(MemoryEvents::default());
        let events = EventLog::new(store.clone(), live.clone(), self.clock.clone());
        let events = Arc::new(events);
        let incidents = Incidents::new(
            Arc::new(MemoryIncidents::default()),
            registry.clone(),
            events.clone(),
            self.clock.clone(),
        );
        Arc::new(PresenceTracker::new(PresenceParts {
            offline_after: OfflineAfter::Auto,
            directory: registry.clone(),
            events,
            incidents: Arc::new(incidents),
            clock: self.clock.clone(),
            nodes: Some(PresenceNodes {
                node: node.clone(),
                exchange: exchange.clone(),
                last_seen: Arc::new(MemoryLastSeen::default()),
                lease: lead.clone(),
                store,
            }),
        }))
    }
}

impl Node {
    /// Hears everything there is to hear.
    async fn listen(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.nodes.hear() => {}
                () = std::future::ready(()) => return,
            }
        }
    }

    fn live(&self) -> &Arc<LiveHub> {
        &self.nodes.parts.live
    }

    /// A watcher whose snapshot has been sent.
    fn watch(&self, topics: &[&str]) -> Subscription {
        let watcher = self.live().watch().unwrap();
        let topics = topics.iter().map(|it| Topic::parse(it).unwrap());
        watcher.subscribe(topics.collect());
        assert_eq!(watcher.take(10), None);
        watcher
    }

    fn measure(&self, device: &str, power_dw: i32) {
        let sample = Sample {
            socket: SocketId::STRIP,
            ts: Timestamp::from_millis(i64::from(power_dw)),
            values: Values {
                power_dw: Some(power_dw),
                ..Values::default()
            },
        };
        self.live().telemetry(&id(device), &[sample]);
    }

    async fn renew(&self) {
        self.heartbeat.attempt().await.unwrap();
        self.nodes.renew().await.unwrap();
        self.nodes.look_around().await.unwrap();
        self.nodes.clear_up().await.unwrap();
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

async fn add(node: &Node, device: &str, location: &str) -> DeviceKey {
    let settings = DeviceSettings {
        location: location.to_owned(),
        ..DeviceSettings::default()
    };
    let registry = &node.nodes.parts.registry;
    let added = registry.add(&Actor::server(), &id(device), settings).await;
    added.unwrap().0.key
}

fn taken(watcher: &Subscription) -> Vec<String> {
    let told = watcher.take(100).expect("nothing was lost");
    let text = |(_, json): (_, Bytes)| String::from_utf8(json.to_vec()).unwrap();
    told.into_iter().map(text).collect()
}

#[tokio::test]
async fn watchers_of_every_node_hear_what_any_node_measures() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    add(&a, "one", "A/1").await;
    add(&a, "two", "B/1").await;
    b.nodes.parts.registry.refresh().await.unwrap();
    a.measure("one", 1);
    assert_eq!(a.live().own_watchers(), 0);
    assert!(!a.live().wants(&one()), "nobody watches: no readings");
    assert!(a.live().wants_commands(&one()), "what is rare always is");

    let there = b.watch(&["location:A"]);
    b.nodes.tell_watching();
    a.listen().await;
    let here = a.watch(&["fleet"]);
    a.nodes.tell_watching();
    b.listen().await;
    a.measure("one", 2);
    a.measure("one", 3);
    a.measure("two", 4);
    a.nodes.relay();
    b.listen().await;
    let told = taken(&there);
    assert_eq!(told.len(), 1, "the newest of its place: {told:?}");
    assert!(told[0].contains("\"powerW\":0.3"), "{told:?}");
    assert_eq!(taken(&here).len(), 2);

    // What came from another node goes no further, and not back.
    b.nodes.relay();
    a.listen().await;
    assert_eq!(taken(&here), [] as [String; 0]);

    drop(there);
    b.nodes.tell_watching();
    a.listen().await;
    drop(here);
    assert!(!a.live().wants(&one()));
}

#[tokio::test]
async fn a_silent_nodes_watchers_are_forgotten() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    let watcher = b.watch(&["fleet"]);
    for _ in 0..5 {
        b.nodes.tell_watching();
        a.listen().await;
        a.nodes.tell_watching();
        assert!(a.live().wants(&one()));
        site.clock.advance(2 * S);
    }
    drop(watcher);
    site.clock.advance(6 * S);
    a.nodes.tell_watching();
    assert!(!a.live().wants(&one()));
}

fn one() -> DeviceId {
    DeviceId::parse("one").unwrap()
}

#[tokio::test]
async fn after_a_gap_watchers_get_a_new_snapshot() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    let watcher = a.watch(&["fleet"]);
    let idle = a.live().watch().unwrap();
    site.hub.set_reachable(false);
    site.hub.set_reachable(true);
    a.listen().await;
    assert_eq!(watcher.next(10).await, Drained::Gap);
    assert_eq!(idle.take(10), Some(vec![]));
    drop(b);
}

#[tokio::test]
async fn devices_and_their_reports_are_known_everywhere() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    let key = add(&a, "one", "A/1").await;
    a.nodes.tell_devices();
    b.listen().await;
    tokio::select! {
        biased;
        () = b.nodes.devices_changed() => {}
        () = std::future::ready(()) => panic!("it was told"),
    }
    b.nodes.parts.registry.refresh().await.unwrap();

    let report = |seq: u32, firmware: &str| Reported {
        boot: Some(1),
        seq: Some(seq),
        firmware: Some(firmware.to_owned()),
        at: Timestamp::from_millis(i64::from(seq)),
        ..Reported::default()
    };
    let watcher = b.watch(&["fleet"]);
    for (seq, firmware) in [(3, "3"), (2, "2")] {
        let updated = a
            .nodes
            .parts
            .registry
            .update_report(key, |_| Some(report(seq, firmware)));
        a.nodes.reported(&updated.unwrap().1);
        a.nodes.tell_reports();
    }
    b.listen().await;
    let firmware = |node: &Node| {
        let device = node.nodes.parts.registry.by_key(key).unwrap();
        device.reported.as_ref().unwrap().firmware.clone().unwrap()
    };
    assert_eq!(firmware(&b), "3", "the newer one counts");
    assert_eq!(taken(&watcher).len(), 1);

    // A hint that was lost is made good by the store.
    let last = |_: &Device| Some(report(9, "9"));
    a.nodes.parts.registry.update_report(key, last).unwrap();
    a.nodes.parts.registry.flush().await.unwrap();
    b.nodes.missed(false).await;
    assert_eq!(firmware(&b), "9");
}

#[tokio::test]
async fn one_node_does_what_is_done_once_and_others_take_over() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    for _ in 0..3 {
        a.renew().await;
        b.renew().await;
        site.clock.advance(S);
    }
    let members = b.nodes.members().await.unwrap();
    let names: Vec<_> = members.iter().map(|it| it.node.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(members[0].leases, [PRESENCE, UPKEEP]);
    assert_eq!(members[0].version.as_deref(), Some("1.2.3"));
    assert!(members[1].since.is_some() && members[1].leases.is_empty());

    let batch = Batch {
        id: BatchId(uuid_v7(site.clock.now())),
        order: Order::new(Action::On, None, None).unwrap(),
        on_pending: OnPending::Refuse,
        send_offline: true,
        origin: Origin::Server,
        node: NodeId("a".into()),
        created_at: site.clock.now(),
        targets: vec![crate::command::Target {
            device: DeviceKey(1),
            device_id: id("one"),
            socket: SocketId::STRIP,
        }],
    };
    let write = CommandWrite::CreateBatch {
        batch: Arc::new(batch),
        key: None,
    };
    site.commands.commit(vec![write]).await.unwrap();
    let waiting = async || {
        site.commands
            .nodes_with_waiting_items()
            .await
            .unwrap()
            .len()
    };
    b.renew().await;
    assert_eq!(waiting().await, 1, "its node is alive");

    // The first one is killed.
    for _ in 0..8 {
        site.clock.advance(S);
        b.renew().await;
    }
    assert!(b.nodes.upkeep().held().is_some() && b.nodes.parts.presence.leads());
    assert_eq!(waiting().await, 0);
    assert_eq!(b.nodes.members().await.unwrap().len(), 1);
    assert_eq!(site.leases.list(NODE_PREFIX).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_that_hears_no_broker_leaves_the_lead_to_others() {
    let site = Site::new();
    let (a, b) = (site.join("a").await, site.join("b").await);
    a.renew().await;
    a.nodes.parts.presence.link_lost();
    for _ in 0..10 {
        site.clock.advance(S);
        a.renew().await;
        b.renew().await;
    }
    assert!(!a.nodes.parts.presence.leads() && b.nodes.parts.presence.leads());
    assert!(
        a.nodes.upkeep().held().is_some(),
        "the rest needs no broker"
    );
}

#[test]
fn hints_of_newer_nodes_are_passed_over() {
    assert_eq!(Hint::decode(br#"{"kind":"tomorrow","x":1}"#), None);
    let more = br#"{"kind":"devices","since":7}"#;
    assert_eq!(Hint::decode(more), Some(Hint::Devices));
}

#[tokio::test]
async fn who_looks_around_knows_how_far_the_clocks_are_apart() {
    let site = Site::new();
    let node = site.join("a").await;
    node.nodes.look_around().await.unwrap();
    assert_eq!(node.nodes.clock_ahead_ms(), 0);
    assert!(node.exchange.connected());
}
