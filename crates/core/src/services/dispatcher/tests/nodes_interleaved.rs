//! Whatever several nodes do in whatever order, and whichever of them dies.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::nodes::Site;
use super::*;
use crate::command::State;

#[derive(Debug, Clone)]
enum Op {
    Send {
        node: usize,
        device: u32,
        socket: u64,
        replace: bool,
    },
    Ack {
        node: usize,
        pick: usize,
    },
    Report {
        node: usize,
        device: u32,
        on: bool,
        changed: bool,
    },
    Cancel {
        node: usize,
        pick: usize,
    },
    Wait {
        node: usize,
        pick: usize,
    },
    Advance(u64),
    Turn(usize),
    Hear(usize),
    Claim(usize),
    Kill(usize),
    Deaf(bool),
    Index(bool),
    Store(bool),
}

const NODES: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    let node = 0..NODES;
    let pick = any::<usize>();
    prop_oneof![
        6 => (node.clone(), 1..=2_u32, 0..=2_u64, any::<bool>())
            .prop_map(|(node, device, socket, replace)| Op::Send { node, device, socket, replace }),
        5 => (node.clone(), pick).prop_map(|(node, pick)| Op::Ack { node, pick }),
        2 => (node.clone(), 1..=2_u32, any::<bool>(), any::<bool>())
            .prop_map(|(node, device, on, changed)| Op::Report { node, device, on, changed }),
        2 => (node.clone(), pick).prop_map(|(node, pick)| Op::Cancel { node, pick }),
        2 => (node.clone(), pick).prop_map(|(node, pick)| Op::Wait { node, pick }),
        4 => (0..1_500_u64).prop_map(Op::Advance),
        12 => node.clone().prop_map(Op::Turn),
        6 => node.clone().prop_map(Op::Hear),
        4 => node.clone().prop_map(Op::Claim),
        1 => node.prop_map(Op::Kill),
        1 => any::<bool>().prop_map(Op::Deaf),
        1 => any::<bool>().prop_map(Op::Index),
        1 => any::<bool>().prop_map(Op::Store),
    ]
}

struct Trial {
    site: Site,
    /// Which process plays each node's part by now.
    playing: [usize; NODES],
    asking: JoinSet<()>,
    finals: HashMap<CommandId, State>,
}

impl Trial {
    fn new() -> Self {
        Self {
            site: Site::new(NODES),
            playing: [0, 1, 2],
            asking: JoinSet::new(),
            finals: HashMap::new(),
        }
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Send {
                node,
                device,
                socket,
                replace,
            } => {
                let mut request = request(device, socket, Action::On);
                if replace {
                    request.on_pending = OnPending::Replace;
                }
                let dispatcher = self.world(node).dispatcher.clone();
                self.ask(async move { drop(dispatcher.send(request).await) });
            }
            Op::Ack { node, pick } => {
                if let Some(it) = self.pick(pick).await {
                    let ack = ack(it.device.0, it.id, AckStatus::Success);
                    self.world(node).dispatcher.on_ack(ack, None);
                }
            }
            Op::Report {
                node,
                device,
                on,
                changed,
            } => {
                let sockets = (1..=2).map(|socket| SocketReport {
                    socket: socket_id(socket),
                    on,
                    changed,
                });
                let dispatcher = &self.world(node).dispatcher;
                dispatcher.on_report(DeviceKey(device), sockets);
            }
            Op::Cancel { node, pick } => {
                if let Some(it) = self.pick(pick).await {
                    let dispatcher = self.world(node).dispatcher.clone();
                    self.ask(async move { drop(dispatcher.cancel(it.id, ann()).await) });
                }
            }
            Op::Wait { node, pick } => {
                if let Some(it) = self.pick(pick).await {
                    let dispatcher = self.world(node).dispatcher.clone();
                    self.ask(async move { drop(dispatcher.wait(it.id).await) });
                }
            }
            other @ (Op::Advance(_)
            | Op::Turn(_)
            | Op::Hear(_)
            | Op::Claim(_)
            | Op::Kill(_)
            | Op::Deaf(_)
            | Op::Index(_)
            | Op::Store(_)) => self.happen(other).await,
        }
        // Lets the requests reach the inbox, and their answers the callers.
        tokio::task::yield_now().await;
        self.check().await;
    }

    async fn happen(&mut self, op: Op) {
        match op {
            Op::Advance(ms) => self.site.clock.advance(Duration::from_millis(ms)),
            Op::Turn(node) => self.world(node).commands.turn().await,
            Op::Hear(node) => self.site.hear(self.playing[node]).await,
            Op::Claim(node) => drop(self.world(node).dispatcher.claim_overdue().await),
            Op::Kill(node) => {
                self.site.kill(self.playing[node]);
                self.playing[node] = self.site.join();
                self.world(node).commands.recover().await.unwrap();
            }
            Op::Deaf(deaf) => self.site.deaf = deaf,
            Op::Index(lives) => self.site.index.set_reachable(lives),
            Op::Store(fails) => self.site.store.fails.store(fails, Ordering::Relaxed),
            Op::Send { .. }
            | Op::Ack { .. }
            | Op::Report { .. }
            | Op::Cancel { .. }
            | Op::Wait { .. } => {}
        }
    }

    fn world(&mut self, node: usize) -> &mut World {
        let playing = self.playing[node];
        self.site.world(playing)
    }

    fn ask(&mut self, asked: impl Future<Output = ()> + Send + 'static) {
        self.asking.spawn(asked);
    }

    async fn all(&self) -> Vec<Command> {
        let mut all = Vec::new();
        for device in 1..=2 {
            let store = &self.site.store.inner;
            let found = store.of_device(DeviceKey(device), None, 10_000).await;
            all.extend(found.unwrap());
        }
        all
    }

    async fn pick(&self, pick: usize) -> Option<Command> {
        let all = self.all().await;
        (!all.is_empty()).then(|| all[pick % all.len()].clone())
    }

    async fn check(&mut self) {
        let all = self.all().await;
        let pending: Vec<_> = all.iter().filter(|it| it.is_pending()).collect();
        for one in &pending {
            let met = pending
                .iter()
                .filter(|it| it.device == one.device && it.claims(one.socket));
            assert_eq!(met.count(), 1, "one pending command per socket");
        }
        for command in &all {
            let told = self.site.told(command.id);
            assert!(told <= 1, "each verdict is told once");
            if command.is_pending() {
                assert_eq!(told, 0, "no verdict before it is written");
                continue;
            }
            let state = &command.progress.state;
            let was = self.finals.entry(command.id).or_insert(state.clone());
            assert_eq!(was, state, "a final state is final");
        }
        let mut published = Vec::new();
        for node in &self.site.nodes {
            let sent = node.world.sink.published.lock().unwrap();
            published.extend(sent.iter().map(|it| it.body.cmd_id));
        }
        let once: HashSet<CommandId> = published.iter().copied().collect();
        assert_eq!(once.len(), published.len(), "nothing is published twice");
    }

    /// Once everything works and time goes by, nothing is left pending.
    async fn settle_all(&mut self) {
        self.site.store.fails.store(false, Ordering::Relaxed);
        self.site.index.set_reachable(true);
        for _ in 0..10 {
            self.site.advance(Duration::from_secs(1)).await;
            self.world(0).dispatcher.sweep_overdue().await.unwrap();
            self.check().await;
        }
        self.site.tick().await;
        for command in self.all().await {
            assert!(!command.is_pending(), "every command becomes final");
            assert_eq!(self.site.told(command.id), 1, "and somebody says so");
        }
        for node in 0..NODES {
            let ghosts = self.world(node).commands.pending.ids();
            assert!(ghosts.is_empty(), "the index holds no ghosts");
        }
        self.asking.shutdown().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_interleaving_of_nodes_keeps_the_invariants(ops in prop::collection::vec(op(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut trial = Trial::new();
            for op in ops {
                trial.step(op).await;
            }
            trial.settle_all().await;
        });
    }
}
