//! Presence among several nodes, each of which may die at any step.

mod stories;
mod trials;

use super::*;
use crate::clock::ManualClock;
use crate::live::LiveHub;
use crate::memory::{
    MemoryDirectory, MemoryEvents, MemoryExchange, MemoryHub, MemoryIncidents, MemoryLastSeen,
    MemoryLeases,
};
use crate::ports::nodes::{Exchange, Heard, NodeId};
use crate::ports::{EventQuery, EventStore};
use crate::services::nodes::LeaseKeeper;

const STEP: Duration = Duration::from_millis(100);
const S: Duration = Duration::from_secs(1);
const LIFE: Life = Life { boot: 3, conn: 1 };

struct Site {
    clock: Arc<ManualClock>,
    directory: Arc<MemoryDirectory>,
    store: Arc<MemoryEvents>,
    leases: Arc<MemoryLeases>,
    last_seen: Arc<MemoryLastSeen>,
    hub: Arc<MemoryHub>,
    /// `None` where a node was killed.
    nodes: Vec<Option<Node>>,
    strips: Vec<DeviceKey>,
}

struct Node {
    tracker: PresenceTracker,
    exchange: Arc<MemoryExchange>,
    lease: Arc<LeaseKeeper>,
    led: bool,
}

impl Site {
    async fn new(nodes: usize) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000)));
        let directory = Arc::new(MemoryDirectory::default());
        let strips = (1..=3).map(|n| directory.add(&format!("strip-{n}"), "A/1/101"));
        let mut site = Self {
            strips: strips.collect(),
            directory,
            store: Arc::default(),
            leases: Arc::new(MemoryLeases::new(clock.clone())),
            last_seen: Arc::default(),
            hub: MemoryHub::new(),
            nodes: Vec::new(),
            clock,
        };
        for _ in 0..nodes {
            site.join().await;
        }
        // Past the grace after the start.
        site.pass(31 * S).await;
        site
    }

    async fn join(&mut self) -> usize {
        let number = self.nodes.len();
        let id = NodeId(format!("node-{number}").into());
        let exchange = Arc::new(self.hub.join());
        let lease = LeaseKeeper::new(
            self.leases.clone(),
            "presence",
            id.clone(),
            self.clock.clone(),
        );
        let lease = Arc::new(lease);
        let live = Arc::new(LiveHub::new(self.directory.clone()));
        let events = EventLog::new(self.store.clone(), live, self.clock.clone());
        let events = Arc::new(events);
        let tracker = PresenceTracker::new(PresenceParts {
            offline_after: OfflineAfter::Auto,
            directory: self.directory.clone(),
            incidents: Arc::new(Incidents::new(
                Arc::new(MemoryIncidents::default()),
                self.directory.clone(),
                events.clone(),
                self.clock.clone(),
            )),
            events,
            clock: self.clock.clone(),
            nodes: Some(PresenceNodes {
                node: id,
                exchange: exchange.clone(),
                last_seen: self.last_seen.clone(),
                lease: lease.clone(),
                store: self.store.clone(),
            }),
        });
        tracker.catch_up().await.unwrap();
        self.nodes.push(Some(Node {
            tracker,
            exchange,
            lease,
            led: false,
        }));
        number
    }

    fn node(&self, number: usize) -> &Node {
        self.nodes[number].as_ref().unwrap()
    }

    fn alive(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    fn leader(&self) -> Option<usize> {
        let leads = |it: &Option<Node>| it.as_ref().is_some_and(|it| it.tracker.leads());
        self.nodes.iter().position(leads)
    }

    fn hear(&self, node: usize, strip: usize) {
        let at = self.clock.now();
        self.node(node).tracker.seen(self.strips[strip], at);
    }

    fn status(&self, node: usize, strip: usize) {
        let (key, at) = (self.strips[strip], self.clock.now());
        let period = Some(5 * S);
        let tracker = &self.node(node).tracker;
        tracker.status(key, Some(LIFE), period, at);
    }

    /// One step of one node's loops.
    async fn turn(&mut self, number: usize, step: usize) {
        let Some(node) = &mut self.nodes[number] else {
            return;
        };
        match step % STEPS {
            0 => node.lease.attempt().await.unwrap_or_default(),
            1 => {
                if node.tracker.leads() && !node.led {
                    node.tracker.node_gone(None);
                }
                node.led = node.tracker.leads();
            }
            2 => node.tracker.tell(),
            3 => node.listen().await,
            4 => drop(node.tracker.run_due()),
            5 => drop(node.tracker.keep().await),
            _ => node.tracker.note_kept().await.unwrap_or_default(),
        }
    }

    async fn tick(&mut self) {
        for step in 0..STEPS {
            for number in 0..self.nodes.len() {
                self.turn(number, step).await;
            }
        }
    }

    async fn pass(&mut self, span: Duration) {
        let end = self.clock.instant() + span;
        while self.clock.instant() < end {
            self.clock.advance(STEP);
            self.tick().await;
        }
        self.tick().await;
    }

    fn states(&self, strip: usize) -> Vec<PresenceState> {
        let key = self.strips[strip];
        let state = |it: &Node| it.tracker.get(key).state;
        self.alive().map(state).collect()
    }

    async fn kept(&self, strip: usize) -> Vec<EventType> {
        let query = EventQuery {
            limit: 10_000,
            ..EventQuery::default()
        };
        let mut events = self.store.list(&query).await.unwrap();
        let key = self.strips[strip];
        events.retain(|it| it.device.as_ref().is_some_and(|(it, _)| *it == key));
        events.sort_by_key(|it| (it.ts, it.id));
        events.into_iter().map(|it| it.kind).collect()
    }
}

const STEPS: usize = 7;

impl Node {
    async fn listen(&self) {
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.exchange.next() => heard,
                () = std::future::ready(()) => return,
            };
            match heard {
                Heard::Log(entries) => self.tracker.follow(&entries),
                Heard::Gap { log_lost: true } => self.tracker.log_lost(),
                Heard::Gap { log_lost: false } | Heard::Hint(_) => {}
            }
        }
    }
}

const ONLINE: EventType = EventType::DeviceOnline;
const OFFLINE: EventType = EventType::DeviceOffline;
const ON: PresenceState = PresenceState::Online;
const OFF: PresenceState = PresenceState::Offline;
