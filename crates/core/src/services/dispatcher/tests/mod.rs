//! The dispatcher on memory ports and a manual clock.

mod batches;
mod interleavings;
mod nodes;
mod nodes_interleaved;
mod sending;
mod settling;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::command::{Batch, BatchReport, Command, OnPending, Order, SocketReport, StateName};
use crate::device::{Device, DeviceSettings, DeviceState};
use crate::event::{Event, Origin};
use crate::ids::{BatchId, CommandId, DeviceId, DeviceKey, SocketId};
use crate::memory::MemoryCommands;
use crate::ports::nodes::NodeId;
use crate::ports::{CommandWrite, CommandWritten, NotSent, OutboundCommand, PortError, Remembered};
use crate::reported::RelayReport;
use crate::wire::{AckStatus, Action};

const NOON: Timestamp = Timestamp::from_millis(1_767_355_200_000);

fn device_id(number: u32) -> DeviceId {
    DeviceId::parse(&format!("strip-{number}")).unwrap()
}

fn socket_id(number: u64) -> SocketId {
    SocketId::parse(number).unwrap()
}

fn ann() -> Origin {
    Origin::User { name: "ann".into() }
}

fn request(device: u32, socket: u64, action: Action) -> SendRequest {
    SendRequest {
        device: device_id(device),
        socket: socket_id(socket),
        order: Order::new(action, None, None).unwrap(),
        on_pending: OnPending::Refuse,
        send_offline: false,
        origin: ann(),
        key: None,
    }
}

/// Strips 1 to 100 with four sockets each, all online but for those named.
#[derive(Default)]
struct TestFleet {
    offline: Mutex<HashSet<DeviceKey>>,
    gone: Mutex<HashSet<DeviceKey>>,
    relays: Mutex<Vec<RelayReport>>,
}

impl Fleet for TestFleet {
    fn device(&self, id: &DeviceId) -> Option<Arc<Device>> {
        let number: u32 = id.as_str().strip_prefix("strip-")?.parse().ok()?;
        let gone = self.gone.lock().unwrap().contains(&DeviceKey(number));
        (number <= 100 && !gone).then(|| {
            Arc::new(Device {
                key: DeviceKey(number),
                id: id.clone(),
                state: DeviceState::Active,
                settings: DeviceSettings {
                    sockets: Some(4),
                    ..DeviceSettings::default()
                },
                reported: None,
                version: 1,
                created_at: NOON,
            })
        })
    }

    fn at_location(&self, _location: &str) -> Vec<Arc<Device>> {
        (1..=100)
            .filter_map(|it| self.device(&device_id(it)))
            .collect()
    }

    fn is_online(&self, device: DeviceKey) -> bool {
        !self.offline.lock().unwrap().contains(&device)
    }

    fn relay_reported(&self, report: RelayReport) {
        self.relays.lock().unwrap().push(report);
    }
}

/// What the rest of the platform heard.
#[derive(Default)]
struct Heard {
    changes: Mutex<Vec<(CommandId, StateName, &'static str)>>,
    events: Mutex<Vec<Event>>,
}

impl Outlet for Heard {
    fn command(&self, command: &Arc<Command>, change: Change<'_>) {
        let change = match change {
            Change::Sent => "sent",
            Change::Settled => "settled",
            Change::Cancelled(by) => {
                assert_eq!(*by, ann());
                "settled"
            }
            Change::Late => "late",
            Change::Elsewhere => "elsewhere",
        };
        let state = command.progress.state.name();
        self.changes
            .lock()
            .unwrap()
            .push((command.id, state, change));
    }

    fn batch(&self, _batch: &Arc<Batch>) {}

    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

/// A broker that takes, refuses, or delivers so fast that the ack is there
/// before the publish returns.
#[derive(Default)]
struct TestSink {
    published: Mutex<Vec<OutboundCommand>>,
    refuses: AtomicBool,
    echoes_to: Mutex<Option<Arc<Dispatcher>>>,
}

impl CommandSink for TestSink {
    fn publish(&self, command: &OutboundCommand) -> Result<(), NotSent> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(NotSent("no broker".into()));
        }
        self.published.lock().unwrap().push(command.clone());
        if let Some(dispatcher) = &*self.echoes_to.lock().unwrap() {
            dispatcher.on_ack(
                ack(command.device.0, command.body.cmd_id, AckStatus::Success),
                None,
            );
        }
        Ok(())
    }
}

/// A memory store that fails when told to.
#[derive(Default)]
struct TestStore {
    inner: MemoryCommands,
    fails: AtomicBool,
}

impl TestStore {
    fn check(&self) -> Result<(), PortError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(PortError::unavailable("disk full"));
        }
        Ok(())
    }
}

#[async_trait]
impl CommandStore for TestStore {
    async fn commit(&self, writes: Vec<CommandWrite>) -> Result<Vec<CommandWritten>, PortError> {
        self.check()?;
        self.inner.commit(writes).await
    }

    async fn get(&self, ids: &[CommandId]) -> Result<Vec<Command>, PortError> {
        self.check()?;
        self.inner.get(ids).await
    }

    async fn pending(&self) -> Result<Vec<Command>, PortError> {
        self.inner.pending().await
    }

    async fn of_device(
        &self,
        device: DeviceKey,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>, PortError> {
        self.inner.of_device(device, before, limit).await
    }

    async fn remembered(
        &self,
        caller: &str,
        key: &str,
        since: Timestamp,
    ) -> Result<Option<Remembered>, PortError> {
        self.inner.remembered(caller, key, since).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchReport>, PortError> {
        self.inner.batch(id).await
    }

    async fn pending_of(&self, devices: &[DeviceKey]) -> Result<Vec<Command>, PortError> {
        self.check()?;
        self.inner.pending_of(devices).await
    }

    async fn nodes_with_waiting_items(&self) -> Result<Vec<NodeId>, PortError> {
        self.inner.nodes_with_waiting_items().await
    }

    async fn interrupt_batches(&self, nodes: &[NodeId]) -> Result<usize, PortError> {
        self.inner.interrupt_batches(nodes).await
    }

    async fn purge(
        &self,
        commands_before: Timestamp,
        keys_before: Timestamp,
        limit: u32,
    ) -> Result<usize, PortError> {
        self.inner.purge(commands_before, keys_before, limit).await
    }
}

fn ack(device: u32, command: CommandId, status: AckStatus) -> Ack {
    Ack {
        device: DeviceKey(device),
        device_id: device_id(device),
        command,
        status,
        reason: None,
        on: None,
        boot: None,
        seq: None,
        received_at: NOON + Duration::from_millis(1),
    }
}

/// Everything around one dispatcher.
struct World {
    store: Arc<TestStore>,
    sink: Arc<TestSink>,
    fleet: Arc<TestFleet>,
    heard: Arc<Heard>,
    clock: Arc<ManualClock>,
    dispatcher: Arc<Dispatcher>,
    commands: DispatchLoop,
}

impl World {
    fn new() -> Self {
        Self::on(Arc::default(), Arc::new(ManualClock::at(NOON)), None)
    }

    /// A process on `store`, perhaps one of several.
    fn on(store: Arc<TestStore>, clock: Arc<ManualClock>, nodes: Option<CommandNodes>) -> Self {
        let sink = Arc::new(TestSink::default());
        let fleet = Arc::new(TestFleet::default());
        let heard = Arc::new(Heard::default());
        let (dispatcher, commands) = dispatcher(DispatcherParts {
            store: store.clone(),
            sink: sink.clone(),
            fleet: fleet.clone(),
            outlet: heard.clone(),
            clock: clock.clone(),
            nodes,
        });
        Self {
            store,
            sink,
            fleet,
            heard,
            clock,
            dispatcher,
            commands,
        }
    }

    /// A new process on the same store.
    async fn restart(&mut self) {
        let (dispatcher, commands) = dispatcher(self.commands.parts.clone());
        self.dispatcher = dispatcher;
        self.commands = commands;
        self.commands.recover().await.unwrap();
    }

    async fn send(&mut self, request: SendRequest) -> Result<Sent, SendError> {
        let dispatcher = self.dispatcher.clone();
        let (sent, ()) = tokio::join!(dispatcher.send(request), self.commands.turn());
        sent
    }

    async fn sent(&mut self, device: u32, socket: u64, action: Action) -> CommandId {
        let sent = self.send(request(device, socket, action)).await;
        sent.unwrap().command.id
    }

    async fn cancel(&mut self, id: CommandId) -> Result<Cancelled, CancelError> {
        let dispatcher = self.dispatcher.clone();
        let (cancelled, ()) = tokio::join!(dispatcher.cancel(id, ann()), self.commands.turn());
        cancelled
    }

    async fn ack(&mut self, device: u32, id: CommandId, status: AckStatus) {
        self.dispatcher.on_ack(ack(device, id, status), None);
        self.commands.turn().await;
    }

    async fn report(&mut self, device: u32, sockets: &[(u64, bool, bool)]) {
        let sockets = sockets.iter().map(|&(socket, on, changed)| SocketReport {
            socket: socket_id(socket),
            on,
            changed,
        });
        self.dispatcher.on_report(DeviceKey(device), sockets);
        self.commands.turn().await;
    }

    /// Moves the clock, turning whenever something is due on the way.
    async fn advance(&mut self, by: Duration) {
        let end = self.commands.parts.clock.instant() + by;
        loop {
            let now = self.commands.parts.clock.instant();
            match self.commands.next_due() {
                Some(due) if due <= end => {
                    self.clock.advance(due.since(now));
                    self.commands.turn().await;
                }
                Some(_) | None => {
                    self.clock.advance(end.since(now));
                    return;
                }
            }
        }
    }

    async fn get(&self, id: CommandId) -> Command {
        self.store.inner.get(&[id]).await.unwrap().pop().unwrap()
    }

    async fn state(&self, id: CommandId) -> StateName {
        self.get(id).await.progress.state.name()
    }

    fn verdicts(&self, id: CommandId) -> usize {
        let changes = self.heard.changes.lock().unwrap();
        let of_id = changes.iter().filter(|(it, ..)| *it == id);
        of_id.filter(|(_, _, change)| *change == "settled").count()
    }

    fn published(&self) -> usize {
        self.sink.published.lock().unwrap().len()
    }
}
