//! Whatever happens in whatever order, the invariants hold.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;
use crate::command::{Evidence, Failure, State};

#[derive(Debug, Clone)]
enum Op {
    Send {
        device: u32,
        socket: u64,
        replace: bool,
        timeout_ms: u32,
    },
    Ack {
        pick: usize,
        from: u32,
        status: AckStatus,
    },
    Report {
        device: u32,
        on: bool,
        changed: bool,
    },
    Cancel {
        pick: usize,
    },
    Advance {
        ms: u64,
    },
    Turn,
    Restart,
    StoreFails(bool),
    SinkRefuses(bool),
    Echo(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let status = prop_oneof![Just(AckStatus::Success), Just(AckStatus::Failed)];
    prop_oneof![
        6 => (1..=2_u32, 0..=2_u64, any::<bool>(), 1_000..3_000_u32).prop_map(
            |(device, socket, replace, timeout_ms)| Op::Send { device, socket, replace, timeout_ms }
        ),
        6 => (any::<usize>(), 1..=2_u32, status)
            .prop_map(|(pick, from, status)| Op::Ack { pick, from, status }),
        2 => (1..=2_u32, any::<bool>(), any::<bool>())
            .prop_map(|(device, on, changed)| Op::Report { device, on, changed }),
        2 => any::<usize>().prop_map(|pick| Op::Cancel { pick }),
        4 => (0..1_500_u64).prop_map(|ms| Op::Advance { ms }),
        8 => Just(Op::Turn),
        1 => Just(Op::Restart),
        1 => any::<bool>().prop_map(Op::StoreFails),
        1 => any::<bool>().prop_map(Op::SinkRefuses),
        1 => any::<bool>().prop_map(Op::Echo),
    ]
}

/// A world, what was asked of it, and what was seen of it so far.
struct Trial {
    world: World,
    asking: JoinSet<()>,
    finals: HashMap<CommandId, State>,
    /// Acks that the right device gave, per command.
    acked: HashMap<CommandId, HashSet<AckStatus>>,
    echoes: bool,
}

impl Trial {
    fn new() -> Self {
        Self {
            world: World::new(),
            asking: JoinSet::new(),
            finals: HashMap::new(),
            acked: HashMap::new(),
            echoes: false,
        }
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Send {
                device,
                socket,
                replace,
                timeout_ms,
            } => {
                let mut request = request(device, socket, Action::On);
                request.order.timeout_ms = timeout_ms;
                if replace {
                    request.on_pending = OnPending::Replace;
                }
                self.ask(request);
            }
            Op::Ack { pick, from, status } => {
                if let Some(command) = self.pick(pick).await {
                    if command.device.0 == from {
                        self.acked.entry(command.id).or_default().insert(status);
                    }
                    self.world
                        .dispatcher
                        .on_ack(ack(from, command.id, status), None);
                }
            }
            Op::Report {
                device,
                on,
                changed,
            } => {
                let sockets = (1..=2).map(|socket| SocketReport {
                    socket: socket_id(socket),
                    on,
                    changed,
                });
                self.world.dispatcher.on_report(DeviceKey(device), sockets);
            }
            Op::Cancel { pick } => {
                if let Some(command) = self.pick(pick).await {
                    let dispatcher = self.world.dispatcher.clone();
                    self.asking.spawn(async move {
                        dispatcher.cancel(command.id, ann()).await.ok();
                    });
                }
            }
            Op::Advance { ms } => self.world.clock.advance(Duration::from_millis(ms)),
            Op::Turn => self.world.commands.turn().await,
            Op::Restart => {
                self.world.restart().await;
                self.echo(self.echoes);
            }
            Op::StoreFails(fails) => self.world.store.fails.store(fails, Ordering::Relaxed),
            Op::SinkRefuses(refuses) => self.world.sink.refuses.store(refuses, Ordering::Relaxed),
            Op::Echo(echoes) => self.echo(echoes),
        }
        // Lets the requests reach the inbox, and their answers the callers.
        tokio::task::yield_now().await;
        self.check().await;
    }

    fn ask(&mut self, request: SendRequest) {
        let dispatcher = self.world.dispatcher.clone();
        self.asking.spawn(async move {
            dispatcher.send(request).await.ok();
        });
    }

    fn echo(&mut self, echoes: bool) {
        self.echoes = echoes;
        let to = echoes.then(|| self.world.dispatcher.clone());
        *self.world.sink.echoes_to.lock().unwrap() = to;
    }

    async fn all(&self) -> Vec<Command> {
        let mut all = Vec::new();
        for device in 1..=2 {
            let key = DeviceKey(device);
            all.extend(
                self.world
                    .store
                    .of_device(key, None, u32::MAX)
                    .await
                    .unwrap(),
            );
        }
        all
    }

    async fn pick(&self, pick: usize) -> Option<Command> {
        let all = self.all().await;
        (!all.is_empty()).then(|| all[pick % all.len()].clone())
    }

    async fn check(&mut self) {
        let all = self.all().await;
        let pending: Vec<&Command> = all.iter().filter(|it| it.is_pending()).collect();
        for one in &pending {
            let met = pending
                .iter()
                .filter(|it| it.device == one.device && it.claims(one.socket));
            assert_eq!(met.count(), 1, "one pending command per socket");
        }
        for command in &all {
            self.check_one(command);
        }
        let published = self.world.sink.published.lock().unwrap();
        let once: HashSet<CommandId> = published.iter().map(|it| it.body.cmd_id).collect();
        assert_eq!(once.len(), published.len(), "nothing is published twice");
    }

    fn check_one(&mut self, command: &Command) {
        let state = command.progress.state.clone();
        let verdicts = self.world.verdicts(command.id);
        assert!(verdicts <= 1, "each verdict is told once");
        if state == State::Pending {
            assert_eq!(verdicts, 0, "no verdict before it is written");
            return;
        }
        let was = self
            .finals
            .entry(command.id)
            .or_insert_with(|| state.clone());
        assert_eq!(*was, state, "a final state is final");
        let said = |status| {
            let given = self.acked.get(&command.id);
            given.is_some_and(|it| it.contains(&status))
        };
        match state {
            State::Success(Evidence::Acked) => {
                assert!(said(AckStatus::Success) || self.was_published(command.id));
            }
            State::Failed(Failure::Refused(_)) => assert!(said(AckStatus::Failed)),
            State::Success(Evidence::Inferred)
            | State::Failed(Failure::NotSent(_))
            | State::Timeout
            | State::Cancelled(_)
            | State::Pending => {}
        }
    }

    fn was_published(&self, id: CommandId) -> bool {
        let published = self.world.sink.published.lock().unwrap();
        published.iter().any(|it| it.body.cmd_id == id)
    }

    /// Once the store works and time goes by, nothing is left pending.
    async fn settle_all(&mut self) {
        self.world.store.fails.store(false, Ordering::Relaxed);
        for _ in 0..3 {
            self.world.advance(Duration::from_secs(10)).await;
            self.world.commands.turn().await;
            tokio::task::yield_now().await;
            self.check().await;
        }
        let index: BTreeSet<CommandId> = self.world.commands.pending.ids();
        assert!(index.is_empty(), "the index holds no ghosts");
        for command in self.all().await {
            assert!(!command.is_pending(), "every command becomes final");
            assert_eq!(self.world.verdicts(command.id), 1, "and says so");
        }
        self.asking.shutdown().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_interleaving_keeps_the_invariants(ops in prop::collection::vec(op(), 1..80)) {
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
