//! Nodes that remember what arrived, and devices.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dormouse_core::clock::ManualClock;
use dormouse_core::ids::{DeviceId, DeviceKey};
use dormouse_core::memory::{MemoryAudit, MemoryDevices, MemorySettings};
use dormouse_core::ports::EnrolSink;
use dormouse_core::ports::journal::Receipt;
use dormouse_core::ports::nodes::NodeId;
use dormouse_core::presence::{SessionEnd, SessionNo};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::ingest::Inbound;
use dormouse_core::services::intake::WayIn;
use dormouse_core::services::registry::{JoinMode, Registry, RegistryParts};
use dormouse_core::topic::{Channel, Topics};
use dormouse_core::wire::EnrolBody;
use dormouse_testbed::mosquitto::{Mosquitto, Options};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, Publish, QoS};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::leases::Leases;
use crate::mqtt::external::{
    ArrivalsParts, ExternalLink, LinkError, LinkSettings, NoRevocation, SessionWatch, Versions,
    prepare,
};

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn broker() -> Mosquitto {
    Mosquitto::start(&Options::default()).unwrap()
}

pub(super) fn settings(port: u16, versions: Versions) -> LinkSettings {
    LinkSettings {
        url: format!("mqtt://127.0.0.1:{port}"),
        username: String::new(),
        password_file: None,
        ca_file: None,
        certificate_file: None,
        key_file: None,
        client_id_prefix: "dormouse".to_owned(),
        share: Some("dormouse".to_owned()),
        versions,
    }
}

/// Waits until `what` holds.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What a node does with what arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Keep {
    /// Keeps it at once.
    #[default]
    All,
    /// Holds its receipts.
    Nothing,
    /// Cannot keep it.
    Fail,
}

/// A message as a node got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) device: DeviceKey,
    pub(super) channel: Channel,
    pub(super) payload: String,
    pub(super) retained: bool,
    pub(super) will: bool,
}

/// A way in that remembers.
#[derive(Default)]
pub(super) struct Store {
    pub(super) got: Mutex<Vec<Got>>,
    keep: Mutex<Keep>,
    open: Mutex<Vec<Box<dyn Receipt>>>,
    closed: Mutex<bool>,
    reopened: Notify,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[async_trait]
impl WayIn for Store {
    fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        let keep = *self.keep.lock().unwrap();
        if keep != Keep::Fail {
            self.got.lock().unwrap().push(Got {
                device: message.device,
                channel: message.channel,
                payload: String::from_utf8(message.payload.to_vec()).unwrap(),
                retained: message.retained,
                will: message.will,
            });
        }
        let Some(receipt) = receipt else { return };
        match keep {
            Keep::All => receipt.done(),
            Keep::Nothing => self.open.lock().unwrap().push(receipt),
            Keep::Fail => receipt.failed(),
        }
    }

    fn has_room(&self) -> bool {
        !*self.closed.lock().unwrap()
    }

    async fn room(&self) {
        let reopened = self.reopened.notified();
        if !self.has_room() {
            reopened.await;
        }
    }
}

impl Store {
    pub(super) fn set(&self, keep: Keep) {
        *self.keep.lock().unwrap() = keep;
    }

    /// Says that there is no room, or that there is again.
    pub(super) fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.reopened.notify_waiters();
    }

    /// Resolves the receipts held back, the newest first.
    pub(super) fn keep_held(&self) {
        let held: Vec<_> = self.open.lock().unwrap().drain(..).rev().collect();
        for receipt in held {
            receipt.done();
        }
    }

    pub(super) fn held(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    pub(super) fn payloads(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|it| it.payload.clone()).collect()
    }
}

/// Sessions as they were told.
#[derive(Default)]
pub(super) struct Sessions(pub(super) Mutex<Vec<(DeviceKey, SessionNo, Option<SessionEnd>)>>);

impl SessionWatch for Sessions {
    fn began(&self, device: DeviceKey, session: SessionNo) {
        self.0.lock().unwrap().push((device, session, None));
    }

    fn ended(&self, device: DeviceKey, session: SessionNo, end: SessionEnd) {
        self.0.lock().unwrap().push((device, session, Some(end)));
    }
}

struct Deaf;

impl EnrolSink for Deaf {
    fn hand_over(&self, _: &DeviceId, _: &EnrolBody) -> bool {
        false
    }
}

/// What nodes of one site share.
#[derive(Clone, Default)]
pub(super) struct Site {
    pub(super) leases: Arc<Leases>,
    devices: Arc<MemoryDevices>,
    settings: Arc<MemorySettings>,
    audit: Arc<MemoryAudit>,
}

/// A process with a link.
pub(super) struct Node {
    pub(super) link: Arc<ExternalLink>,
    pub(super) store: Arc<Store>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) registry: Arc<Registry>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Site {
    pub(super) async fn registry(&self) -> Arc<Registry> {
        let clock = Arc::new(ManualClock::default());
        let registry = Registry::load(RegistryParts {
            store: self.devices.clone(),
            settings: self.settings.clone(),
            audit: Arc::new(AuditLog::new(self.audit.clone(), clock.clone())),
            sessions: Arc::new(NoRevocation),
            enrol: Arc::new(Deaf),
            watchers: Vec::new(),
            clock,
            join_mode: JoinMode::Closed,
            pending_max: 10,
        });
        Arc::new(registry.await.unwrap())
    }

    /// Starts a node.
    pub(super) async fn start(
        &self,
        name: &str,
        settings: LinkSettings,
        unknown: JoinMode,
    ) -> Result<Node, LinkError> {
        let clock = Arc::new(ManualClock::default());
        let (store, sessions) = (Arc::new(Store::default()), Arc::new(Sessions::default()));
        let registry = self.registry().await;
        let (link, tasks) = prepare(settings, Topics::default(), clock.clone())?;
        let arrivals = ArrivalsParts {
            topics: Topics::default(),
            registry: registry.clone(),
            way_in: store.clone(),
            sessions: sessions.clone(),
            unknown,
            clock,
        };
        let running = tasks
            .start(arrivals, self.leases.clone(), NodeId(name.into()))
            .await?;
        let stop = CancellationToken::new();
        Ok(Node {
            link,
            store,
            sessions,
            registry,
            task: tokio::spawn(running.run(stop.clone())),
            stop,
        })
    }

    /// A node on `broker` that takes every device.
    pub(super) async fn node(&self, name: &str, broker: &Mosquitto) -> Node {
        let settings = settings(broker.port(), Versions::Auto);
        self.start(name, settings, JoinMode::Open).await.unwrap()
    }
}

impl Node {
    /// Ends it properly.
    pub(super) async fn stop(self) -> Arc<Store> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store
    }

    /// Ends it at once, as a crash would: nothing is said to anybody.
    pub(super) async fn kill(self) -> Arc<Store> {
        self.task.abort();
        self.task.await.unwrap_err();
        self.store
    }

    pub(super) async fn knows(&self, id: &str) {
        let id = DeviceId::parse(id).unwrap();
        eventually("the device is known", || self.registry.by_id(&id).is_some()).await;
    }
}

/// A client of the broker, such as a device.
pub(super) struct Device {
    client: AsyncClient,
    events: EventLoop,
    /// How many messages it heard.
    pub(super) heard: usize,
    early: VecDeque<Publish>,
}

impl Device {
    pub(super) async fn connect(port: u16, name: &str) -> Self {
        Self::with(MqttOptions::new(name, "127.0.0.1", port)).await
    }

    pub(super) async fn with(mut options: MqttOptions) -> Self {
        options.set_keep_alive(Duration::from_secs(30));
        options.set_inflight(1_000);
        let (client, events) = AsyncClient::new(options, 1_000);
        let mut device = Self {
            client,
            events,
            heard: 0,
            early: VecDeque::new(),
        };
        device.until(|it| matches!(it, Packet::ConnAck(_))).await;
        device
    }

    /// Polls until a packet that `fits` has come.
    async fn until(&mut self, fits: impl Fn(&Packet) -> bool) -> Packet {
        let wait = async {
            loop {
                let Event::Incoming(packet) = self.events.poll().await.unwrap() else {
                    continue;
                };
                if let Packet::Publish(publish) = &packet {
                    self.heard += 1;
                    self.early.push_back(publish.clone());
                }
                if fits(&packet) {
                    return packet;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// Publishes at QoS 1 and waits for the broker to have it.
    pub(super) async fn says(&mut self, topic: &str, body: &str) {
        self.publish(topic, body, false).await;
    }

    pub(super) async fn publish(&mut self, topic: &str, body: &str, retain: bool) {
        let publishing = self.client.publish(topic, QoS::AtLeastOnce, retain, body);
        publishing.await.unwrap();
        self.until(|it| matches!(it, Packet::PubAck(_))).await;
    }

    /// Publishes many messages and waits until the broker has all.
    pub(super) async fn says_all(&mut self, messages: &[(String, String)]) {
        for part in messages.chunks(500) {
            for (topic, body) in part {
                let publishing =
                    self.client
                        .publish(topic, QoS::AtLeastOnce, false, body.as_bytes());
                publishing.await.unwrap();
            }
            for _ in part {
                self.until(|it| matches!(it, Packet::PubAck(_))).await;
            }
        }
    }

    pub(super) async fn subscribe(&mut self, filter: &str) {
        self.client
            .subscribe(filter, QoS::AtLeastOnce)
            .await
            .unwrap();
        self.until(|it| matches!(it, Packet::SubAck(_))).await;
    }

    /// Says goodbye.
    pub(super) async fn leaves(mut self) {
        self.client.disconnect().await.unwrap();
        while self.events.poll().await.is_ok() {}
    }

    /// The next message's topic and body, and whether it was retained.
    pub(super) async fn hears(&mut self) -> (String, String, bool) {
        if self.early.is_empty() {
            self.until(|it| matches!(it, Packet::Publish(_))).await;
        }
        let publish = self.early.pop_front().unwrap();
        let body = String::from_utf8(publish.payload.to_vec()).unwrap();
        (publish.topic, body, publish.retain)
    }
}

/// `n` numbered messages of one device.
pub(super) fn numbered(device: &str, range: std::ops::Range<u32>) -> Vec<(String, String)> {
    let topic = format!("dorm/{device}/telemetry");
    range
        .map(|n| (topic.clone(), format!("{{\"powerW\":{n}}}")))
        .collect()
}

/// The distinct bodies of `messages`.
pub(super) fn bodies(messages: &[(String, String)]) -> BTreeSet<String> {
    messages.iter().map(|(_, body)| body.clone()).collect()
}
