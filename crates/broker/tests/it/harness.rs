//! A broker for one test, in memory or on a free port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dormouse_broker::{Broker, BrokerHandle, Config, Limits, RunError};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::client::Client;
use crate::client::Stream;
pub(crate) use crate::hooks::{Commit, TestHooks};
use crate::wire::{Connect, Packet};

/// The longest any test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// How long to listen for what must not come.
pub(crate) const NEVER: Duration = Duration::from_millis(150);

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
        Client::new(stream, level)
    }

    fn dial_in_memory(&self, bytes: usize) -> Box<dyn Stream> {
        let (near, far) = tokio::io::duplex(bytes);
        // One that is refused is closed, which the test then sees.
        let _ = self.handle.serve(far, "127.0.0.1:9".parse().unwrap());
        Box::new(near)
    }

    /// A connection with little room, for tests with very many.
    pub(crate) fn dial_small(&self, level: u8) -> Client {
        Client::new(self.dial_in_memory(512), level)
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
