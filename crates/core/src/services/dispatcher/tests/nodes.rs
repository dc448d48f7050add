//! Several nodes on one store, one index and one exchange.

use tokio::task::JoinSet;

use super::*;
use crate::clock::Clock;
use crate::command::ItemResult;
use crate::command::{Evidence, Refusal, State};
use crate::memory::{MemoryExchange, MemoryHub, MemoryIndex};
use crate::ports::nodes::{CommandIndex, Exchange, Heard as News, NodeId};
use crate::services::nodes::Hint;

/// The nodes of one site. One that was killed stays in the list, for what it
/// had told, and never turns again.
pub(super) struct Site {
    pub(super) store: Arc<TestStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) index: Arc<MemoryIndex>,
    pub(super) hub: Arc<MemoryHub>,
    pub(super) nodes: Vec<Node>,
    /// Whether hints get lost.
    pub(super) deaf: bool,
}

pub(super) struct Node {
    pub(super) world: World,
    exchange: Arc<MemoryExchange>,
    pub(super) alive: bool,
}

impl Site {
    pub(super) fn new(nodes: usize) -> Self {
        let clock = Arc::new(ManualClock::at(NOON));
        let mut site = Self {
            store: Arc::default(),
            index: Arc::new(MemoryIndex::new(clock.clone())),
            hub: MemoryHub::new(),
            nodes: Vec::new(),
            deaf: false,
            clock,
        };
        for _ in 0..nodes {
            site.join();
        }
        site
    }

    /// One more node; its number.
    pub(super) fn join(&mut self) -> usize {
        let number = self.nodes.len();
        let exchange = Arc::new(self.hub.join());
        let nodes = CommandNodes {
            node: NodeId(format!("node-{number}").into()),
            index: self.index.clone(),
            exchange: exchange.clone(),
        };
        let world = World::on(self.store.clone(), self.clock.clone(), Some(nodes));
        self.nodes.push(Node {
            world,
            exchange,
            alive: true,
        });
        number
    }

    pub(super) fn world(&mut self, node: usize) -> &mut World {
        &mut self.nodes[node].world
    }

    /// What a process leaves behind that is killed: nothing of its own.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = false;
    }

    /// A node hears what there is to hear.
    pub(super) async fn hear(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        loop {
            let heard = tokio::select! {
                biased;
                heard = node.exchange.next() => heard,
                () = std::future::ready(()) => return,
            };
            match heard {
                News::Hint(_) if self.deaf => {}
                News::Hint(hint) => {
                    if let Some(Hint::Moved { commands }) = Hint::decode(&hint) {
                        node.world.dispatcher.on_moved(commands);
                    }
                }
                News::Gap { .. } => node.world.dispatcher.on_gap(),
                News::Log(_) => {}
            }
        }
    }

    /// Every living node hears, claims and turns.
    pub(super) async fn tick(&mut self) {
        for number in 0..self.nodes.len() {
            if self.nodes[number].alive {
                self.hear(number).await;
                let world = self.world(number);
                world.dispatcher.claim_overdue().await.ok();
                world.commands.turn().await;
                tokio::task::yield_now().await;
            }
        }
    }

    pub(super) async fn advance(&mut self, by: Duration) {
        let end = self.clock.instant() + by;
        while self.clock.instant() < end {
            self.clock.advance(Duration::from_millis(50));
            self.tick().await;
        }
    }

    pub(super) fn told(&self, id: CommandId) -> usize {
        self.nodes.iter().map(|it| it.world.verdicts(id)).sum()
    }

    /// Waits for a verdict at one node.
    fn wait(&mut self, node: usize, id: CommandId) -> JoinSet<Option<Arc<Command>>> {
        let dispatcher = self.world(node).dispatcher.clone();
        let mut waiting = JoinSet::new();
        waiting.spawn(async move { dispatcher.wait(id).await.unwrap() });
        waiting
    }

    async fn state(&self, id: CommandId) -> State {
        let mut found = self.store.inner.get(&[id]).await.unwrap();
        found.pop().unwrap().progress.state
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn sent_here_and_acked_there_the_sender_hears_at_once() {
    let mut site = Site::new(3);
    let id = site.world(0).sent(1, 1, Action::On).await;
    let mut waiting = site.wait(0, id);
    tokio::task::yield_now().await;
    site.tick().await;
    site.world(1).ack(1, id, AckStatus::Success).await;
    site.tick().await;
    let settled = waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(settled.progress.state, State::Success(Evidence::Acked));
    assert!(settled.progress.published_at.is_some());
    assert_eq!((site.told(id), site.world(1).verdicts(id)), (1, 1));
    let heard = site.world(0).heard.changes.lock().unwrap().clone();
    assert!(heard.contains(&(id, StateName::Success, "elsewhere")));
    assert_eq!(site.world(0).commands.pending(), 0);
    assert_eq!(site.world(1).fleet.relays.lock().unwrap().len(), 1);
    // The next one may go, through any node.
    site.world(2).sent(1, 1, Action::Off).await;
}

#[tokio::test]
async fn without_hints_the_sender_learns_the_verdict_at_its_deadline() {
    let mut site = Site::new(2);
    site.deaf = true;
    let id = site.world(0).sent(1, 1, Action::On).await;
    let mut waiting = site.wait(0, id);
    site.world(1).ack(1, id, AckStatus::Failed).await;
    site.advance(6 * SECOND).await;
    let settled = waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(settled.progress.state.name(), StateName::Failed);
    assert_eq!(site.told(id), 1);
}

#[tokio::test]
async fn one_pending_command_per_socket_whichever_node_is_asked() {
    let mut site = Site::new(2);
    let first = site.world(0).sent(1, 1, Action::On).await;
    let refused = site.world(1).send(request(1, 1, Action::Off)).await;
    assert!(matches!(refused, Err(SendError::Pending(met)) if met[0].id == first));
    let mut replacing = request(1, 0, Action::Off);
    replacing.on_pending = OnPending::Replace;
    let second = site.world(1).send(replacing).await.unwrap().command.id;
    site.tick().await;
    assert_eq!(site.state(first).await.name(), StateName::Cancelled);
    assert_eq!((site.told(first), site.world(0).commands.pending()), (1, 0));
    site.advance(7 * SECOND).await;
    assert_eq!(site.state(second).await, State::Timeout);
    assert_eq!(site.told(second), 1);
}

#[tokio::test]
async fn an_index_that_came_back_empty_is_filled_again() {
    let mut site = Site::new(2);
    let id = site.world(0).sent(1, 1, Action::On).await;
    let end = site.clock.now() + 60 * SECOND;
    assert_eq!(site.index.claim(end, 10).await.unwrap(), [id]);
    assert_eq!(site.index.claim(end, 10).await.unwrap(), []);
    site.world(1).dispatcher.refill_index().await.unwrap();
    assert_eq!(site.index.claim(end, 10).await.unwrap(), [id]);
}

#[tokio::test]
async fn the_rate_limit_holds_across_nodes() {
    let mut site = Site::new(3);
    for node in 0..3 {
        site.world(node).sent(1, node as u64 + 1, Action::On).await;
    }
    let refused = site.world(0).send(request(1, 4, Action::On)).await;
    assert!(matches!(refused, Err(SendError::RateLimited { .. })));
    site.advance(SECOND).await;
    site.world(1).sent(1, 4, Action::On).await;
}

#[tokio::test]
async fn a_dead_nodes_commands_are_settled_by_another_in_time() {
    for index_lives in [true, false] {
        let mut site = Site::new(3);
        let id = site.world(0).sent(1, 1, Action::On).await;
        site.kill(0);
        site.index.set_reachable(index_lives);
        site.advance(6 * SECOND).await;
        assert_eq!(site.told(id), 0, "its own node would not be later");
        site.advance(SECOND).await;
        site.world(1).dispatcher.sweep_overdue().await.unwrap();
        site.world(2).dispatcher.sweep_overdue().await.unwrap();
        site.advance(Duration::from_millis(100)).await;
        if index_lives {
            assert_eq!(site.told(id), 1);
        }
        site.advance(SECOND).await;
        site.world(1).dispatcher.sweep_overdue().await.unwrap();
        site.advance(Duration::from_millis(100)).await;
        assert_eq!(site.told(id), 1);
        assert_eq!(site.state(id).await, State::Timeout);
    }
}

#[tokio::test]
async fn what_was_claimed_is_settled_even_if_the_store_fails_first() {
    let mut site = Site::new(2);
    let id = site.world(0).sent(1, 1, Action::On).await;
    site.kill(0);
    site.advance(6 * SECOND).await;
    site.store.fails.store(true, Ordering::Relaxed);
    site.advance(2 * SECOND).await;
    assert_eq!(site.told(id), 0);
    site.store.fails.store(false, Ordering::Relaxed);
    site.advance(SECOND).await;
    assert_eq!(site.told(id), 1);
}

#[tokio::test]
async fn a_restarted_node_leaves_others_their_deadlines() {
    let mut site = Site::new(1);
    let id = site.world(0).sent(1, 1, Action::On).await;
    let late = site.join();
    assert_eq!(site.world(late).commands.recover().await.unwrap(), 1);
    site.advance(6 * SECOND).await;
    assert_eq!(site.world(0).verdicts(id), 1);
    site.advance(SECOND).await;
    assert_eq!((site.told(id), site.world(late).commands.pending()), (1, 0));
}

#[tokio::test]
async fn a_report_to_another_node_proves_a_command() {
    let mut site = Site::new(2);
    let id = site.world(0).sent(1, 1, Action::On).await;
    site.advance(Duration::from_millis(600)).await;
    site.world(1).report(1, &[(1, true, false)]).await;
    assert_eq!(site.told(id), 0, "their clocks may be half a second apart");
    site.advance(Duration::from_millis(400)).await;
    site.world(1).report(1, &[(1, false, true)]).await;
    site.world(1).report(1, &[(1, true, false)]).await;
    assert_eq!(site.state(id).await, State::Success(Evidence::Inferred));
    site.tick().await;
    assert_eq!((site.told(id), site.world(0).commands.pending()), (1, 0));
}

#[tokio::test]
async fn any_node_can_wait_and_cancel() {
    let mut site = Site::new(3);
    let id = site.world(0).sent(1, 1, Action::On).await;
    let mut waiting = site.wait(2, id);
    tokio::task::yield_now().await;
    site.tick().await;
    let cancelled = site.world(1).cancel(id).await.unwrap();
    assert!(matches!(cancelled, Cancelled::Now(_)));
    site.tick().await;
    let settled = waiting.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(settled.progress.state.name(), StateName::Cancelled);
    assert_eq!(site.told(id), 1);
    let again = site.world(0).cancel(id).await.unwrap();
    assert!(matches!(again, Cancelled::AlreadyFinal(_)));
}

#[tokio::test]
async fn without_the_index_nothing_is_sent_and_everything_settles() {
    let mut site = Site::new(2);
    let acked = site.world(0).sent(1, 1, Action::On).await;
    let silent = site.world(0).sent(1, 2, Action::On).await;
    site.index.set_reachable(false);
    site.hub.set_reachable(false);
    let refused = site.world(1).send(request(2, 1, Action::On)).await;
    assert!(matches!(refused, Err(SendError::HotState(_))));
    site.world(1).ack(1, acked, AckStatus::Success).await;
    site.advance(6 * SECOND).await;
    assert_eq!(site.state(acked).await.name(), StateName::Success);
    assert_eq!(site.state(silent).await, State::Timeout);
    assert_eq!((site.told(acked), site.told(silent)), (1, 1));
    site.index.set_reachable(true);
    site.hub.set_reachable(true);
    site.world(1).sent(2, 1, Action::On).await;
}

async fn start_batch(
    site: &mut Site,
    node: usize,
    devices: std::ops::RangeInclusive<u32>,
) -> BatchId {
    let request = BatchRequest {
        targets: devices.map(|it| (device_id(it), socket_id(1))).collect(),
        location: None,
        order: Order::new(Action::Off, None, None).unwrap(),
        on_pending: OnPending::Refuse,
        send_offline: false,
        origin: ann(),
        key: None,
    };
    let world = site.world(node);
    let dispatcher = world.dispatcher.clone();
    let (started, ()) = tokio::join!(dispatcher.start_batch(request), world.commands.turn());
    started.unwrap().id
}

#[tokio::test]
async fn only_a_dead_nodes_batches_are_interrupted() {
    let mut site = Site::new(2);
    let dying = start_batch(&mut site, 0, 1..=100).await;
    let living = start_batch(&mut site, 1, 1..=2).await;
    site.kill(0);
    let waiting = site.world(1).dispatcher.nodes_with_waiting_items().await;
    let waiting = waiting.unwrap();
    let dead: Vec<NodeId> = waiting
        .into_iter()
        .filter(|it| &*it.0 == "node-0")
        .collect();
    let interrupted = site.world(1).dispatcher.interrupt_batches(&dead).await;
    assert_eq!(
        interrupted.unwrap(),
        100,
        "it was killed before its first turn"
    );
    site.tick().await;
    let results = |report: BatchReport| report.results;
    let of = async |site: &Site, id| results(site.store.inner.batch(id).await.unwrap().unwrap());
    let interrupted = ItemResult::Refused(Refusal::Interrupted);
    assert!(of(&site, dying).await.iter().all(|it| *it == interrupted));
    let sent = |it: &ItemResult| matches!(it, ItemResult::Sent(_));
    assert!(of(&site, living).await.iter().all(sent));
}

#[tokio::test]
async fn batches_wait_while_the_index_does_not_answer() {
    let mut site = Site::new(1);
    site.index.set_reachable(false);
    let id = start_batch(&mut site, 0, 1..=5).await;
    site.advance(3 * SECOND).await;
    assert_eq!(site.world(0).published(), 0);
    site.index.set_reachable(true);
    site.advance(2 * SECOND).await;
    assert_eq!(site.world(0).published(), 5);
    site.advance(7 * SECOND).await;
    let report = site.store.inner.batch(id).await.unwrap().unwrap();
    let done = |it: &ItemResult| matches!(it, ItemResult::Sent(command) if !command.is_pending());
    assert!(report.results.iter().all(done));
}
