//! Serves with hooks that allow everything, for measurements and for trying
//! clients by hand: `bench_broker [ADDRESS] [COMMIT_MS]`.
//!
//! With `COMMIT_MS` publications are acknowledged in groups by one thread that
//! sleeps so long per group, as a disk would; without, at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dormouse_broker::{
    Ack, AckBatch, Broker, Config, ConnectRefused, ConnectRequest, Hooks, Identity, Inbound,
    PublishVerdict, QoS, Routing, Session,
};
use tokio_util::sync::CancellationToken;

/// Publications that wait for the next group.
type Waiting = Arc<Mutex<Vec<Ack>>>;

struct AcceptAll {
    waiting: Option<Waiting>,
}

#[async_trait]
impl Hooks for AcceptAll {
    async fn authenticate(&self, request: &ConnectRequest<'_>) -> Result<Identity, ConnectRefused> {
        Ok(Identity::shared(request.username.unwrap_or("anonymous")))
    }

    fn authorize_publish(&self, _: &Session, _: &str, _: bool, _: QoS) -> PublishVerdict {
        PublishVerdict::Allow
    }

    fn authorize_subscribe(&self, _: &Session, filter: &str) -> bool {
        !filter.contains("nosubscribe")
    }

    fn publish(&self, _: &Session, _: &Inbound<'_>, ack: Ack) -> Routing {
        match &self.waiting {
            Some(waiting) if ack.is_awaited() => match waiting.lock() {
                Ok(mut waiting) => waiting.push(ack),
                Err(_) => ack.failed(),
            },
            Some(_) | None => ack.done(),
        }
        Routing::Subscribers
    }
}

/// Acknowledges group after group.
fn commit(waiting: &Waiting, pause: Duration) {
    let mut batch = AckBatch::new();
    loop {
        std::thread::sleep(pause);
        let group = waiting
            .lock()
            .map(|mut waiting| std::mem::take(&mut *waiting));
        for ack in group.unwrap_or_default() {
            batch.done(ack);
        }
        batch.flush();
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:1883".to_owned())
        .parse()?;
    let commit_ms: Option<u64> = arguments.next().map(|text| text.parse()).transpose()?;
    let waiting = commit_ms.map(|milliseconds| {
        let waiting = Waiting::default();
        let own = waiting.clone();
        std::thread::spawn(move || commit(&own, Duration::from_millis(milliseconds)));
        waiting
    });
    let hooks = Arc::new(AcceptAll { waiting });
    let broker = Broker::bind(Config::new(address), hooks).await?;
    eprintln!("listening on {:?}", broker.local_addrs());
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    let handle = broker.handle();
    let signal = async move {
        let outcome = tokio::signal::ctrl_c().await;
        stopper.cancel();
        outcome
    };
    let (served, signalled) = tokio::join!(broker.run(stop), signal);
    eprintln!("{:#?}", handle.stats());
    signalled?;
    Ok(served?)
}
