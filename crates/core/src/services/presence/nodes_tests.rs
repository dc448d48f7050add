//! Presence among several nodes, each of which may die at any step.

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;
use crate::live::LiveHub;
use crate::memory::{
    MemoryDirectory, MemoryEvents, MemoryExchange, MemoryHub, MemoryIncidents, MemoryLastSeen,
    MemoryLeases,
};
use crate::ports::nodes::{Exchange, Heard, NodeId};
use crate::ports::{EventQuery, EventStore};
use crate::presence::PresenceReason;
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

#[tokio::test]
async fn every_node_knows_who_is_there_and_one_event_is_kept() {
    let mut site = Site::new(3).await;
    site.status(0, 0);
    site.pass(STEP).await;
    assert_eq!(site.states(0), [ON; 3]);
    assert_eq!(site.kept(0).await, [ONLINE]);
    let life = Some(LIFE);
    site.node(1).tracker.will(site.strips[0], life, true);
    site.pass(STEP).await;
    assert_eq!(site.states(0), [OFF; 3]);
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
    for node in site.alive() {
        let counts = node.tracker.counts();
        assert_eq!((counts.online, counts.offline), (0, 1));
        let presence = node.tracker.get(site.strips[0]);
        assert_eq!(presence.reason, Some(PresenceReason::Will));
    }
}

#[tokio::test]
async fn signs_of_life_count_whichever_node_hears_them() {
    let mut site = Site::new(3).await;
    site.status(0, 0);
    for n in 0..30 {
        site.hear(n % 3, 0);
        site.pass(5 * S).await;
    }
    assert_eq!(site.kept(0).await, [ONLINE]);
    assert_eq!(site.states(0), [ON; 3]);
}

#[tokio::test]
async fn a_silence_is_declared_within_a_second_of_its_end_and_once() {
    let mut site = Site::new(3).await;
    site.status(1, 0);
    site.pass(15 * S).await;
    assert_eq!(site.states(0), [ON; 3], "three periods");
    site.pass(S).await;
    assert_eq!(site.states(0), [OFF; 3]);
    site.pass(60 * S).await;
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
}

/// Kills the leader before each of its steps in turn, while a device comes,
/// leaves by its will, or falls silent.
#[tokio::test]
async fn whenever_the_leader_dies_each_change_is_kept_once() {
    for kill_at in 0..3 * STEPS {
        for silent in [false, true] {
            let mut site = Site::new(3).await;
            site.status(0, 0);
            site.pass(S).await;
            let leader = site.leader().unwrap();
            let other = (leader + 1) % 3;
            if silent {
                site.pass(Duration::from_millis(14_300)).await;
            } else {
                let life = Some(LIFE);
                site.node(other).tracker.will(site.strips[0], life, true);
                site.hear(other, 1);
            }
            for step in 0..3 * STEPS {
                if step == kill_at {
                    site.nodes[leader] = None;
                }
                if step % STEPS == 0 {
                    site.clock.advance(STEP);
                }
                for number in 0..3 {
                    site.turn(number, step).await;
                }
            }
            site.pass(10 * S).await;
            assert_eq!(site.states(0), [OFF; 2], "within ten seconds");
            assert_eq!(site.kept(0).await, [ONLINE, OFFLINE], "{kill_at}");
            if !silent {
                assert_eq!(site.kept(1).await.first(), Some(&ONLINE));
            }
            site.hear(other, 0);
            site.pass(S).await;
            assert_eq!(site.kept(0).await, [ONLINE, OFFLINE, ONLINE]);
        }
    }
}

#[tokio::test]
async fn while_the_log_is_out_of_reach_nobody_is_declared() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.pass(S).await;
    site.hub.set_reachable(false);
    site.pass(120 * S).await;
    assert_eq!(site.states(0), [ON; 2]);
    site.hub.set_reachable(true);
    site.pass(29 * S).await;
    assert_eq!(site.states(0), [ON; 2], "its grace");
    site.pass(2 * S).await;
    assert_eq!(site.states(0), [OFF; 2]);
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
}

#[tokio::test]
async fn while_a_node_is_cut_off_from_the_broker_nobody_is_declared() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.pass(S).await;
    let follower = 1 - site.leader().unwrap();
    site.node(follower).tracker.link_lost();
    site.pass(40 * S).await;
    assert_eq!(site.states(0), [ON; 2]);
    site.node(follower).tracker.link_restored();
    site.pass(32 * S).await;
    assert_eq!(site.states(0), [OFF; 2]);
}

#[tokio::test]
async fn a_database_that_was_down_gets_every_change_afterwards() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.pass(S).await;
    site.leases.set_reachable(false);
    site.pass(10 * S).await;
    assert_eq!(site.leader(), None, "nobody leads without the database");
    let life = Some(LIFE);
    site.node(0).tracker.will(site.strips[0], life, true);
    site.pass(S).await;
    site.status(1, 0);
    site.pass(S).await;
    assert_eq!(site.kept(0).await, [ONLINE]);
    site.leases.set_reachable(true);
    site.pass(2 * S).await;
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE, ONLINE]);
}

#[tokio::test]
async fn a_node_that_starts_takes_up_what_the_others_know() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.hear(1, 1);
    site.pass(S).await;
    // Not kept yet when the third node starts.
    let first = &site.node(0).tracker;
    first.session_ended(site.strips[0], 7, SessionEnd::Lost);
    first.tell();
    let third = site.join().await;
    assert_eq!(site.node(third).tracker.get(site.strips[0]).state, OFF);
    assert_eq!(site.node(third).tracker.get(site.strips[1]).state, ON);
    site.pass(S).await;
    assert_eq!(site.states(0), [OFF; 3]);
    for node in [0, 1] {
        site.nodes[node] = None;
    }
    site.pass(10 * S).await;
    assert_eq!(site.kept(0).await, [ONLINE, OFFLINE]);
    assert_eq!(site.node(third).tracker.counts().online, 1);
}

#[tokio::test]
async fn a_device_is_heard_before_a_node_knows_it() {
    let mut site = Site::new(2).await;
    // The first node's directory is behind: the key is not there yet.
    let new = DeviceKey(site.strips.iter().map(|it| it.0).max().unwrap() + 1);
    site.strips.push(new);
    site.status(0, 3);
    site.pass(S).await;
    assert_eq!(site.states(3), [PresenceState::Never; 2]);
    assert_eq!(site.directory.add("strip-4", "A/1/101"), new);
    for node in site.alive() {
        node.tracker.device_changed(new);
    }
    site.pass(S).await;
    assert_eq!(site.states(3), [ON; 2]);
    assert_eq!(site.kept(3).await, [ONLINE]);
}

#[tokio::test]
async fn a_lost_log_heals_with_the_next_signs_of_life() {
    let mut site = Site::new(2).await;
    site.status(0, 0);
    site.hear(0, 1);
    site.pass(S).await;
    site.hub.lose_log();
    for _ in 0..8 {
        site.pass(5 * S).await;
        site.hear(1, 0);
    }
    site.pass(S).await;
    assert_eq!(site.states(0), [ON; 2]);
    assert_eq!(site.states(1), [OFF; 2]);
    assert_eq!(site.kept(0).await, [ONLINE]);
    assert_eq!(site.kept(1).await, [ONLINE, OFFLINE]);
}

#[derive(Debug, Clone)]
enum Op {
    Hear(usize, usize),
    Status(usize, usize),
    Will(usize, usize),
    Turn(usize, usize),
    Pass(u64),
    Kill(usize),
    Log(bool),
    Database(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let (node, strip) = (0..3_usize, 0..3_usize);
    prop_oneof![
        6 => (node.clone(), strip.clone()).prop_map(|(node, strip)| Op::Hear(node, strip)),
        3 => (node.clone(), strip.clone()).prop_map(|(node, strip)| Op::Status(node, strip)),
        3 => (node.clone(), strip).prop_map(|(node, strip)| Op::Will(node, strip)),
        16 => (node.clone(), 0..STEPS).prop_map(|(node, step)| Op::Turn(node, step)),
        4 => (1..8_000_u64).prop_map(Op::Pass),
        1 => node.prop_map(Op::Kill),
        1 => any::<bool>().prop_map(Op::Log),
        1 => any::<bool>().prop_map(Op::Database),
    ]
}

async fn trial(ops: Vec<Op>) {
    let mut site = Site::new(3).await;
    let mut playing = [0, 1, 2];
    for op in ops {
        // What happens takes time: no two things are heard in one millisecond.
        site.clock.advance(Duration::from_millis(1));
        match op {
            Op::Hear(node, strip) => site.hear(playing[node], strip),
            Op::Status(node, strip) => site.status(playing[node], strip),
            Op::Will(node, strip) => {
                let key = site.strips[strip];
                let node = site.node(playing[node]);
                node.tracker.will(key, Some(LIFE), true);
            }
            Op::Turn(node, step) => site.turn(playing[node], step).await,
            Op::Pass(ms) => site.pass(Duration::from_millis(ms)).await,
            Op::Kill(node) => {
                site.nodes[playing[node]] = None;
                // A node waits for the database before it starts.
                site.leases.set_reachable(true);
                playing[node] = site.join().await;
            }
            Op::Log(reachable) => site.hub.set_reachable(reachable),
            Op::Database(reachable) => site.leases.set_reachable(reachable),
        }
    }
    site.hub.set_reachable(true);
    site.leases.set_reachable(true);
    site.pass(40 * S).await;
    for strip in 0..3 {
        let states = site.states(strip);
        let kept = site.kept(strip).await;
        let alternate = (0..kept.len()).map(|n| [ONLINE, OFFLINE][n % 2].clone());
        assert_eq!(kept, alternate.collect::<Vec<_>>(), "each change once");
        let expected = match kept.last() {
            None => PresenceState::Never,
            Some(EventType::DeviceOnline) => ON,
            Some(_) => OFF,
        };
        assert_eq!(states, [expected; 3], "all nodes agree with what is kept");
        assert_ne!(expected, ON, "silent for longer than any grace");
    }
    let totals: Vec<_> = site.alive().map(|it| it.tracker.counts()).collect();
    assert!(totals.iter().all(|it| *it == totals[0]), "and so do counts");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_each_change_is_kept_once(ops in prop::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(trial(ops));
    }
}
