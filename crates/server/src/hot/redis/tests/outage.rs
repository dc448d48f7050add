//! Redis goes away and comes back, empty or not.

use dormouse_core::contract::commands::sample as command;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::nodes::{CommandIndex, Exchange, Heard, LastSeen};

use super::*;

const END: Timestamp = Timestamp::from_millis(i64::MAX);

async fn reaches(node: &Node) -> bool {
    node.redis.hot().latest(&[DeviceKey(1)]).await.is_ok()
}

#[tokio::test]
async fn away_it_fails_at_once_and_back_it_goes_on() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    let (hot, index) = (node.redis.hot(), node.redis.index());
    let exchange = node.redis.exchange(&node_id("a")).await.unwrap();
    let mut emptied = node.redis.emptied();
    hot.put(DeviceKey(1), &[sample(0, NOON, 1)]);
    assert!(reaches(&node).await);
    server.kill().unwrap();

    let begun = tokio::time::Instant::now();
    for failed in [
        hot.recent(DeviceKey(1), NOON, END).await.is_err(),
        index.admit(&[DeviceKey(1)]).await.is_err(),
        index.arm(&[(command(1, 1).id, NOON)]).await.is_err(),
        index.claim(NOON, 1).await.is_err(),
        node.redis.last_seen().last_seen().await.is_err(),
        exchange.read(None, 1).await.is_err(),
        node.redis.probe().is_err(),
    ] {
        assert!(failed);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    until("the exchange notices", async || !exchange.connected()).await;
    hot.put(DeviceKey(1), &[sample(0, END, 2)]);
    exchange.log("meanwhile".into());

    server.run().unwrap();
    until("it is back", async || {
        reaches(&node).await && exchange.connected()
    })
    .await;
    assert!(node.redis.probe().is_ok());
    emptied.changed().await.unwrap();
    assert_eq!(hot.emptied(), 1);
    let ring = hot.recent(DeviceKey(1), NOON, END).await.unwrap();
    assert_eq!(ring.samples, [], "it came back empty");
    let latest = hot.latest(&[DeviceKey(1)]).await.unwrap();
    assert_eq!(latest[0][0].ts, END, "what came meanwhile is written");
    let mut lost = false;
    loop {
        match exchange.next().await {
            Heard::Gap { log_lost } => lost |= log_lost,
            Heard::Log(entries) => {
                assert_eq!(entries[0].1, "meanwhile");
                break;
            }
            Heard::Hint(hint) => panic!("{hint:?}"),
        }
    }
    assert!(lost, "the log was lost, and everybody hears of it");
}

#[tokio::test]
async fn back_with_its_data_nothing_is_lost() {
    let server = dormouse_testbed::redis::Redis::with(Options {
        persistent: true,
        ..Options::default()
    })
    .unwrap();
    let node = Node::at(&server.url(), "").await;
    let exchange = node.redis.exchange(&node_id("a")).await.unwrap();
    exchange.log("one".into());
    assert!(matches!(exchange.next().await, Heard::Log(_)));
    server.stop().unwrap();
    until("it is missed", async || !exchange.connected()).await;
    server.run().unwrap();
    until("it is back", async || {
        reaches(&node).await && exchange.connected()
    })
    .await;
    assert_eq!(exchange.next().await, Heard::Gap { log_lost: false });
    assert_eq!(node.redis.hot().emptied(), 0);
    assert_eq!(exchange.read(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn emptied_by_somebody_it_is_noticed_while_connected() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    let exchange = node.redis.exchange(&node_id("a")).await.unwrap();
    let mut emptied = node.redis.emptied();
    server.cli(&["FLUSHALL"]).unwrap();
    server.cli(&["SCRIPT", "FLUSH"]).unwrap();
    emptied.changed().await.unwrap();
    assert_eq!(exchange.next().await, Heard::Gap { log_lost: true });
    // Scripts are learned again.
    assert_eq!(
        node.redis.index().admit(&[DeviceKey(1)]).await.unwrap(),
        [Ok(())]
    );
}

#[tokio::test]
async fn a_server_that_is_silent_is_as_good_as_away() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    server.cli(&["CLIENT", "PAUSE", "2500", "ALL"]).unwrap();
    let begun = tokio::time::Instant::now();
    assert!(node.redis.index().admit(&[DeviceKey(1)]).await.is_err());
    assert!(
        begun.elapsed() < Duration::from_millis(1_100),
        "{:?}",
        begun.elapsed()
    );
    until("it is back", async || reaches(&node).await).await;
    assert_eq!(node.redis.hot().emptied(), 0);
}

#[tokio::test]
async fn a_full_server_is_told_and_harms_nothing_else() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    let exchange = node.redis.exchange(&node_id("a")).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let refused = node.redis.index().admit(&[DeviceKey(1)]).await.unwrap_err();
    assert!(matches!(refused, PortError::Unavailable(_)));
    node.redis.hot().put(DeviceKey(1), &[sample(0, NOON, 1)]);
    assert!(node.redis.hot().latest(&[DeviceKey(1)]).await.unwrap()[0].is_empty());
    until("it is told", async || says(&node, "OOM")).await;
    exchange.log("one".into());
    exchange.log("two".into());
    assert!(exchange.read(None, 9).await.is_err(), "nothing is logged");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    until("it works again", async || node.redis.probe().is_ok()).await;
    assert!(node.redis.index().admit(&[DeviceKey(1)]).await.is_ok());
    let log = exchange.read(None, 9).await.unwrap();
    let log: Vec<_> = log.iter().map(|(_, entry)| &entry[..]).collect();
    assert_eq!(log, [b"one", b"two"], "in order, and each once");
}

/// Whether the node says that Redis does not work, and why.
fn says(node: &Node, why: &str) -> bool {
    let Err(PortError::Unavailable(error)) = node.redis.probe() else {
        return false;
    };
    error.to_string().contains(why)
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_as_good_as_away() {
    let (server, other) = (server(), server());
    let node = Node::at(&server.url(), "").await;
    let port = other.port().to_string();
    server.cli(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    until("it is told", async || says(&node, "read only replica")).await;
    let refused = node.redis.index().admit(&[DeviceKey(1)]).await.unwrap_err();
    assert!(matches!(refused, PortError::Unavailable(_)));
    let settings = RedisSettings {
        url: server.url(),
        ..RedisSettings::default()
    };
    let error = Node::open(&settings).await.err().unwrap().to_string();
    assert!(error.contains("name the master"), "{error}");
    server.cli(&["REPLICAOF", "NO", "ONE"]).unwrap();
    until("it is back", async || {
        node.redis.index().admit(&[DeviceKey(1)]).await.is_ok()
    })
    .await;
    assert!(node.redis.probe().is_ok());
}

#[tokio::test]
async fn stopping_writes_what_waits() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    let exchange = node.redis.exchange(&node_id("a")).await.unwrap();
    node.redis.hot().put(DeviceKey(1), &[sample(0, NOON, 1)]);
    exchange.log("bye".into());
    node.tasks.finish(Duration::from_secs(5)).await;
    assert_eq!(server.cli(&["LLEN", "ring:{strip-1}"]).unwrap(), "1");
    assert_eq!(server.cli(&["XLEN", "{nodes}:log"]).unwrap(), "1");
}
