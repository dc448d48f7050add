mod hearing;
mod leading;

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
