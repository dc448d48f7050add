//! A Cluster whose servers go and come, and whose slots move.

use dormouse_core::contract::commands::sample as command;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::nodes::{CommandIndex, Exchange};
use dormouse_testbed::redis::{Redis as Server, RedisCluster};

use super::super::RedisExchange;
use super::*;

const END: Timestamp = Timestamp::from_millis(i64::MAX);

#[tokio::test]
async fn a_cluster_without_one_master_heals_when_it_returns() {
    let cluster = RedisCluster::start().unwrap();
    let node = Node::at(&cluster.url(), "").await;
    let mut emptied = node.redis.emptied();
    let all: Vec<_> = (1..=20).map(DeviceKey).collect();
    cluster.nodes()[2].kill().unwrap();
    let gone = async || node.redis.hot().latest(&all).await.is_err();
    until("it is missed", gone).await;
    cluster.nodes()[2].run().unwrap();
    until("it is back", async || {
        node.redis.hot().latest(&all).await.is_ok()
    })
    .await;
    emptied.changed().await.unwrap();
    assert!(node.redis.probe().is_ok());
}

/// A node that knows by name nothing but the master of the nodes' log, with a
/// sample of each device in the ring.
struct Bench {
    cluster: RedisCluster,
    master: usize,
    node: Node,
    exchange: RedisExchange,
    devices: Vec<DeviceKey>,
}

impl Bench {
    async fn start() -> Self {
        let (_, master) = RedisCluster::place_of("{nodes}:log");
        let cluster = RedisCluster::start_with_replica_of(master).unwrap();
        let port = cluster.nodes()[master].port();
        let node = Node::at(&format!("redis+cluster://127.0.0.1:{port}"), "").await;
        let exchange = node.redis.exchange(&node_id("a")).await.unwrap();
        let bench = Self {
            cluster,
            master,
            node,
            exchange,
            devices: (1..=20).map(DeviceKey).collect(),
        };
        for device in &bench.devices {
            bench.node.redis.hot().put(*device, &[sample(0, NOON, 1)]);
        }
        bench.exchange.log("before".into());
        until("all is there", async || bench.has_all().await).await;
        until("it is logged", async || bench.log().await == ["before"]).await;
        bench
    }

    fn master(&self) -> &Server {
        &self.cluster.nodes()[self.master]
    }

    /// Waits until the replica has what the master has.
    async fn replicate(&self) {
        let replica = self.cluster.replica().unwrap();
        let place = |node: &Server| {
            let info = node.cli(&["INFO", "replication"]).unwrap();
            let place = info
                .lines()
                .find_map(|it| it.strip_prefix("master_repl_offset:"));
            place.unwrap().trim().to_owned()
        };
        let same = async || place(replica) == place(self.master());
        until("the replica has it", same).await;
    }

    /// Whether commands can be sent, and every device's sample is there.
    async fn has_all(&self) -> bool {
        let redis = &self.node.redis;
        let admitted = redis.index().admit(&self.devices).await;
        let latest = redis.hot().latest(&self.devices).await;
        admitted.is_ok() && latest.is_ok_and(|all| all.iter().all(|it| it.len() == 1))
    }

    /// The log, as far as it can be read; what stands there twice in a row, once.
    async fn log(&self) -> Vec<String> {
        let log = self.exchange.read(None, 9).await.unwrap_or_default();
        let text = |entry: &[u8]| String::from_utf8(entry.to_vec()).unwrap();
        let mut log: Vec<_> = log.iter().map(|(_, entry)| text(entry)).collect();
        log.dedup();
        log
    }
}

#[tokio::test]
async fn a_replica_that_takes_over_is_followed_and_nothing_is_lost() {
    let bench = Bench::start().await;
    let redis = &bench.node.redis;
    let (hot, index) = (redis.hot(), redis.index());
    bench.replicate().await;
    bench.master().kill().unwrap();
    until("it is missed", async || redis.probe().is_err()).await;
    let refused = index.admit(&bench.devices).await.unwrap_err();
    assert!(matches!(refused, PortError::Unavailable(_)));
    bench.exchange.log("meanwhile".into());
    let back = async || bench.has_all().await && bench.exchange.connected();
    until("all is back", back).await;
    until("it is well", async || redis.probe().is_ok()).await;
    let whole = async || bench.log().await == ["before", "meanwhile"];
    until("the log is whole", whole).await;
    assert_eq!(hot.emptied(), 0, "the replica had it all");

    // The old master comes back as a replica, and empty: nobody minds.
    bench.master().run().unwrap();
    until("it follows", async || {
        let role = bench.master().cli(&["ROLE"]);
        role.is_ok_and(|role| role.starts_with("slave"))
    })
    .await;
    let deadlines = [(command(1, 1).id, NOON)];
    until("it works", async || index.arm(&deadlines).await.is_ok()).await;
    until("it is claimed", async || {
        let claimed = index.claim(END, 9).await;
        claimed.is_ok_and(|ids| ids == [deadlines[0].0])
    })
    .await;
    assert_eq!(hot.emptied(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_use_goes_unnoticed() {
    let cluster = RedisCluster::start().unwrap();
    let node = Node::at(&cluster.url(), "").await;
    let hot = node.redis.hot();
    let (slot, from) = RedisCluster::place_of("ring:{strip-1}");
    let to = (from + 1) % 3;
    let put = |power: i32| {
        let ts = Timestamp::from_millis(NOON.as_millis() + i64::from(power) * 5_000);
        hot.put(DeviceKey(1), &[sample(0, ts, power)]);
    };
    let is_there = async |power: i32| {
        let latest = hot.latest(&[DeviceKey(1)]).await;
        let ring = hot.recent(DeviceKey(1), NOON, END).await;
        let (Ok(latest), Ok(ring)) = (latest, ring) else {
            return false;
        };
        assert_eq!(ring.samples.len(), usize::try_from(power).unwrap());
        latest[0][0].values.power_dw == Some(power)
    };
    put(1);
    until("before", async || is_there(1).await).await;
    cluster.begin_move(slot, from, to).unwrap();
    put(2);
    until("all keys are still where they were", async || {
        is_there(2).await
    })
    .await;
    // A script wants two keys, which are on two servers for a moment.
    assert!(cluster.move_key(slot, from, to).unwrap());
    put(3);
    assert!(cluster.move_key(slot, from, to).unwrap());
    until("all keys are on the other", async || is_there(3).await).await;
    while cluster.move_key(slot, from, to).unwrap() {}
    cluster.end_move(slot, from, to).unwrap();
    put(4);
    until("the slot is the other's", async || is_there(4).await).await;
    until("all is well", async || node.redis.probe().is_ok()).await;
    assert_eq!(hot.emptied(), 0);
}
