//! A broker on a free port, hooks that can be told what to do and remember what
//! they heard, and a client that speaks bytes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dormouse_broker::{
    Ack, Attempt, Broker, BrokerHandle, Config, ConnectRefused, ConnectRequest, Disconnect, Hooks,
    Identity, IdentityConflict, Inbound, Limits, Origin, PublishVerdict, QoS, Refusal, Routing,
    RunError, Session,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::wire::{self, Connect, Packet, Props, Publish, V5};

/// The longest any test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long to listen for what must not come.
pub(crate) const NEVER: Duration = Duration::from_millis(150);

/// What the hooks do with a publication.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Acknowledge at once.
    #[default]
    AtOnce,
    /// Keep the acknowledgements for the test to resolve.
    Hold,
    /// Acknowledge at once, pass on to nobody.
    Swallow,
}

/// Hooks for tests. `device-…` names are exclusive identities; the password of
/// everyone who gives a name is `secret`.
#[derive(Default)]
pub(crate) struct TestHooks {
    pub(crate) commit: Mutex<Commit>,
    pub(crate) acks: Mutex<Vec<Ack>>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) denied: Mutex<HashSet<String>>,
    /// Lets one client with the name `slow` be authenticated.
    pub(crate) gate: Notify,
}

impl TestHooks {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    pub(crate) fn set_commit(&self, commit: Commit) {
        *self.commit.lock().unwrap() = commit;
    }

    pub(crate) fn deny(&self, topic: &str) {
        self.denied.lock().unwrap().insert(topic.into());
    }

    pub(crate) fn take_acks(&self) -> Vec<Ack> {
        std::mem::take(&mut self.acks.lock().unwrap())
    }

    pub(crate) fn heard(&self, line: &str) -> bool {
        self.log.lock().unwrap().iter().any(|other| other == line)
    }

    pub(crate) fn count(&self, start: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.starts_with(start)).count()
    }
}

#[async_trait]
impl Hooks for TestHooks {
    async fn authenticate(&self, request: &ConnectRequest<'_>) -> Result<Identity, ConnectRefused> {
        if request.username == Some("slow") {
            self.note("authenticating slow".into());
            self.gate.notified().await;
        }
        match (request.username, request.password) {
            (None, _) => Ok(Identity::shared("anonymous")),
            (Some(name), Some(b"secret")) if name.starts_with("device-") => {
                Ok(Identity::exclusive(name))
            }
            (Some(name), Some(b"secret")) => Ok(Identity::shared(name)),
            (Some(_), _) => Err(ConnectRefused::BadCredentials),
        }
    }

    fn authorize_publish(&self, _: &Session, topic: &str, _: bool, _: QoS) -> PublishVerdict {
        if self.denied.lock().unwrap().contains(topic) {
            PublishVerdict::Deny
        } else {
            PublishVerdict::Allow
        }
    }

    fn authorize_subscribe(&self, _: &Session, filter: &str) -> bool {
        !self.denied.lock().unwrap().contains(filter)
    }

    fn publish(&self, session: &Session, message: &Inbound<'_>, ack: Ack) -> Routing {
        assert!(!message.payload.starts_with(b"panic"), "asked to panic");
        let kind = match message.origin {
            Origin::Client => "publish",
            Origin::Will => "will",
        };
        let payload = String::from_utf8_lossy(message.payload);
        self.note(format!(
            "{kind} {} {} {payload}",
            session.client_id(),
            message.topic
        ));
        let commit = *self.commit.lock().unwrap();
        match commit {
            Commit::Hold if ack.is_awaited() => self.acks.lock().unwrap().push(ack),
            Commit::AtOnce | Commit::Hold | Commit::Swallow => ack.done(),
        }
        match commit {
            Commit::AtOnce | Commit::Hold => Routing::Subscribers,
            Commit::Swallow => Routing::Nobody,
        }
    }

    fn subscribed(&self, session: &Session, filter: &str) {
        self.note(format!("subscribed {} {filter}", session.client_id()));
    }

    fn connected(&self, session: &Session) {
        self.note(format!("connected {}", session.client_id()));
    }

    fn disconnected(&self, session: &Session, reason: &Disconnect) {
        self.note(format!("disconnected {}: {reason}", session.client_id()));
        assert!(!session.client_id().starts_with("panic"), "asked to panic");
    }

    fn refused(&self, _: &Attempt<'_>, reason: &Refusal) {
        self.note(format!("refused: {reason}"));
    }

    fn identity_conflict(&self, conflict: &IdentityConflict<'_>) {
        self.note(format!("conflict {} {}", conflict.identity, conflict.swaps));
    }
}

/// What a test's client talks through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a connection in memory holds on the way, in bytes.
const IN_MEMORY_BYTES: usize = 64 * 1024;

/// A running broker.
///
/// By default its clients connect in memory, so that a test can run on paused
/// time: the clock moves only when nobody has anything to do, "nothing comes"
/// is exact, and no test waits for real.
pub(crate) struct TestBroker {
    pub(crate) hooks: Arc<TestHooks>,
    pub(crate) handle: BrokerHandle,
    pub(crate) address: SocketAddr,
    in_memory: bool,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl TestBroker {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::build(limits, true).await
    }

    /// Clients connect over TCP.
    pub(crate) async fn on_tcp(limits: Limits) -> Self {
        Self::build(limits, false).await
    }

    async fn build(limits: Limits, in_memory: bool) -> Self {
        let hooks = Arc::new(TestHooks::default());
        let mut config = Config::new("127.0.0.1:0".parse().unwrap());
        config.limits = limits;
        let broker = Broker::bind(config, hooks.clone()).await.unwrap();
        let (handle, address) = (broker.handle(), broker.local_addr().unwrap());
        let stop = CancellationToken::new();
        let own = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `stop`")]
        let task = tokio::spawn(broker.run(own));
        Self {
            hooks,
            handle,
            address,
            in_memory,
            stop,
            task,
        }
    }

    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.stop.cancel();
        timeout(SOON, self.task).await.unwrap().unwrap()
    }

    /// Orders the broker to stop without waiting.
    pub(crate) fn order_stop(&self) {
        self.stop.cancel();
    }

    /// A connection that has sent nothing yet.
    pub(crate) async fn dial(&self, level: u8) -> Client {
        let stream: Box<dyn Stream> = if self.in_memory {
            self.dial_in_memory(IN_MEMORY_BYTES)
        } else {
            let stream = TcpStream::connect(self.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            Box::new(stream)
        };
        Client {
            stream,
            level,
            buffer: Vec::new(),
            next_id: 1,
        }
    }

    fn dial_in_memory(&self, bytes: usize) -> Box<dyn Stream> {
        let (near, far) = tokio::io::duplex(bytes);
        // One that is refused is closed, which the test then sees.
        let _ = self.handle.serve(far, "127.0.0.1:9".parse().unwrap());
        Box::new(near)
    }

    /// A connection with little room, for tests with very many.
    pub(crate) fn dial_small(&self, level: u8) -> Client {
        Client {
            stream: self.dial_in_memory(512),
            level,
            buffer: Vec::new(),
            next_id: 1,
        }
    }

    /// A client that has been let in.
    pub(crate) async fn connect(&self, connect: Connect) -> Client {
        let (client, code, _) = self.try_connect(connect).await;
        assert_eq!(code, 0, "refused");
        client
    }

    /// A client with its CONNACK: code and whether the session was there.
    pub(crate) async fn try_connect(&self, connect: Connect) -> (Client, u8, bool) {
        let mut client = self.dial(connect.level).await;
        client.send(&connect.bytes()).await;
        match client.next().await {
            Packet::ConnAck { present, code, .. } => (client, code, present),
            other => panic!("expected CONNACK, got {other:?}"),
        }
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(SOON, wait).await.is_err() {
            let log = self.hooks.log.lock().unwrap().join("\n");
            panic!("not in time: {what}\n{:#?}\n{log}", self.handle.stats());
        }
    }

    pub(crate) async fn until_heard(&self, line: &str) {
        self.until(line, |broker| broker.hooks.heard(line)).await;
    }
}

/// A client that sends and reads packets as they are.
pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) level: u8,
    buffer: Vec<u8>,
    next_id: u16,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet; panics if the broker closes or stays silent.
    pub(crate) async fn next(&mut self) -> Packet {
        self.next_or_end()
            .await
            .expect("the broker closed the connection")
    }

    /// The next packet, `None` if the broker closes the connection.
    pub(crate) async fn next_or_end(&mut self) -> Option<Packet> {
        timeout(SOON, self.read())
            .await
            .expect("the broker stays silent")
    }

    /// Nothing comes, for a while.
    pub(crate) async fn expect_silence(&mut self) {
        if let Ok(packet) = timeout(NEVER, self.read()).await {
            panic!("expected silence, got {packet:?}");
        }
    }

    /// The connection is closed, with this DISCONNECT before if it is MQTT 5.
    pub(crate) async fn expect_end(&mut self, reason: u8) {
        if self.level == V5 {
            let packet = self.next_or_end().await;
            assert_eq!(packet, Some(Packet::Disconnect { reason }));
        }
        assert_eq!(self.next_or_end().await, None);
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = wire::decode(&mut self.buffer, self.level) {
                return Some(packet);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn publish(&mut self, publish: Publish) {
        let bytes = publish.bytes(self.level);
        self.send(&bytes).await;
    }

    /// Publishes with QoS 1 or 2 to the end of the exchange.
    pub(crate) async fn publish_fully(&mut self, topic: &str, payload: &str, qos: u8) {
        let id = self.id();
        self.publish(Publish::new(topic, payload).qos(qos, id))
            .await;
        if qos == 1 {
            self.expect_answer(4, id).await;
        } else if qos == 2 {
            self.expect_answer(5, id).await;
            self.send(&wire::answer(6, id)).await;
            self.expect_answer(7, id).await;
        }
    }

    pub(crate) async fn expect_answer(&mut self, kind: u8, id: u16) {
        let reason = 0;
        assert_eq!(self.next().await, Packet::Answer { kind, id, reason });
    }

    /// Subscribes to one filter; returns the code.
    pub(crate) async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_with(filter, options, &Props::none()).await
    }

    pub(crate) async fn subscribe_with(&mut self, filter: &str, options: u8, props: &Props) -> u8 {
        let id = self.id();
        let bytes = wire::subscribe(self.level, id, &[(filter, options)], props);
        self.send(&bytes).await;
        match self.next().await {
            Packet::SubAck { id: other, codes } => {
                assert_eq!((other, codes.len()), (id, 1));
                codes[0]
            }
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// The next packet, which must be a PUBLISH; it is acknowledged in full.
    pub(crate) async fn message(&mut self) -> Publish {
        let publish = self.raw_message().await;
        match publish.qos {
            1 => self.send(&wire::answer(4, publish.id)).await,
            2 => {
                self.send(&wire::answer(5, publish.id)).await;
                self.expect_answer(6, publish.id).await;
                self.send(&wire::answer(7, publish.id)).await;
            }
            _ => {}
        }
        publish
    }

    /// The next packet, which must be a PUBLISH; it is not acknowledged.
    pub(crate) async fn raw_message(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// Asks for a PINGRESP: everything sent before has been taken.
    pub(crate) async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.next().await, Packet::Pong);
    }

    /// Says goodbye and waits for the broker to close.
    pub(crate) async fn leave(mut self) {
        self.send(&[0xE0, 0]).await;
        while self.next_or_end().await.is_some() {}
    }

    pub(crate) fn id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}
