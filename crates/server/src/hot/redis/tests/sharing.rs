//! The contracts, and what people see.

use dormouse_core::command::{Command, Input};
use dormouse_core::contract;
use dormouse_core::contract::commands::sample as command;
use dormouse_core::event::{Event, EventType, Origin, Severity};
use dormouse_core::ids::{DeviceId, DeviceKey, EventId};
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::nodes::{CommandIndex, LastSeen};
use dormouse_testbed::redis::RedisCluster;

use super::*;

/// Runs every contract, each behind a prefix of its own.
async fn keeps_the_contracts(settings: &RedisSettings) {
    let open = async |name: &str| {
        let mut settings = settings.clone();
        settings.prefix.push_str(name);
        (
            Node::open(&settings).await.unwrap(),
            Node::open(&settings).await.unwrap(),
        )
    };
    let (a, b) = open("hot:").await;
    contract::hot_state(&a.redis.hot()).await;
    drop(b);
    let (a, b) = open("shared:").await;
    contract::shared_hot_state(&a.redis.hot(), &b.redis.hot()).await;
    let (a, b) = open("seen:").await;
    contract::last_seen(&a.redis.last_seen(), &b.redis.last_seen()).await;
    let (a, b) = open("index:").await;
    contract::command_index(&a.redis.index(), &b.redis.index(), tokio::time::sleep).await;
    let (a, b) = open("exchange:").await;
    let a_side = a.redis.exchange(&node_id("a")).await.unwrap();
    let b_side = b.redis.exchange(&node_id("b")).await.unwrap();
    contract::exchange(&a_side, &b_side).await;
}

#[tokio::test]
async fn a_single_server_keeps_the_contracts() {
    let server = server();
    let url = server.url();
    keeps_the_contracts(&RedisSettings {
        url,
        ..RedisSettings::default()
    })
    .await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contracts_named_as_one_or_not() {
    let cluster = RedisCluster::start().unwrap();
    for url in [cluster.url(), cluster.nodes()[1].url()] {
        let prefix = format!("{}:", url.len());
        keeps_the_contracts(&RedisSettings {
            url,
            prefix,
            ..RedisSettings::default()
        })
        .await;
    }
}

#[tokio::test]
async fn the_documented_user_over_tls_keeps_the_contracts() {
    let (_server, settings) = guarded_server("test:");
    keeps_the_contracts(&settings).await;
}

#[tokio::test]
async fn people_find_what_they_look_for() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    let (hot, index, seen) = (node.redis.hot(), node.redis.index(), node.redis.last_seen());
    let mut orders: Vec<Command> = (0..60).map(|_| command(7, 1)).collect();
    orders.sort_by_key(|order| order.id);
    orders.iter().for_each(|order| index.show(order));
    let mut last = orders[59].clone();
    last.progress.apply(Input::Observed, NOON);
    index.show(&last);
    // Older news than what is shown, as another node may send it.
    index.show(&orders[59]);
    index.show(&orders[3]);
    seen.seen(DeviceKey(7), NOON);
    hot.put(DeviceKey(7), &[sample(0, NOON, 425), sample(1, NOON, 7)]);
    let event = Event {
        id: EventId(uuid::Uuid::from_u128(5)),
        device: Some((DeviceKey(7), DeviceId::parse("strip-7").unwrap())),
        socket: None,
        kind: EventType::DeviceOnline,
        severity: Severity::Info,
        ts: NOON,
        received_at: NOON,
        origin: Origin::Server,
        data: serde_json::json!({}),
    };
    node.redis.note_event(&event);
    node.redis.note_event(&event);
    hot.latest(&[]).await.unwrap();

    let cli = |arguments: &[&str]| server.cli(arguments).unwrap();
    let list = cli(&["LRANGE", "device:{strip-7}:cmds", "0", "-1"]);
    let newest_first: Vec<_> = orders
        .iter()
        .rev()
        .take(50)
        .map(|it| it.id.to_string())
        .collect();
    assert_eq!(list.lines().collect::<Vec<_>>(), newest_first);
    assert_eq!(cli(&["HGET", "lastCmd:{strip-7}:1", "state"]), "success");
    let key = format!("cmd:{}", last.id);
    let fields = cli(&["HMGET", &key, "state", "evidence", "deviceId", "action"]);
    assert_eq!(fields, "success\ninferred\nstrip-7\non");
    assert_eq!(
        cli(&["GET", "lastSeen:{strip-7}"]),
        NOON.as_millis().to_string()
    );
    let latest = cli(&["HGET", "latest:{strip-7}", "0"]);
    assert_eq!(latest, format!("{} 425 - - - -", NOON.as_millis()));
    let events = cli(&["LRANGE", "events:{strip-7}", "0", "-1"]);
    assert_eq!(
        events.lines().count(),
        1,
        "told twice, it stands there once"
    );
    assert!(events.contains("DEVICE_ONLINE"), "{events}");
    assert_eq!(cli(&["LLEN", "ring:{strip-7}"]), "1");
    for key in cli(&["KEYS", "*strip-7*"]).lines().chain([key.as_str()]) {
        let left: i64 = cli(&["TTL", key]).parse().unwrap();
        assert!(left > 0, "{key} goes by itself");
    }
}

#[tokio::test]
async fn a_name_used_again_shows_nothing_of_the_former_device() {
    let server = server();
    let [a, b] = [
        Node::at(&server.url(), "").await,
        Node::at(&server.url(), "").await,
    ];
    a.redis.hot().put(DeviceKey(3), &[sample(0, NOON, 1)]);
    assert_eq!(
        a.redis.hot().latest(&[DeviceKey(3)]).await.unwrap()[0].len(),
        1
    );
    // The name belongs to a device with another key now.
    let directory = MemoryDirectory::default();
    directory.add("strip-1", "");
    directory.add("strip-2", "");
    directory.add("strip-4", "");
    directory.add("strip-3", "");
    let (tasks, _deaths) = Tasks::new();
    let settings = RedisSettings {
        url: server.url(),
        ..RedisSettings::default()
    };
    let later = Redis::open(&settings, Arc::new(directory), &tasks)
        .await
        .unwrap();
    let hot = later.hot();
    let end = Timestamp::from_millis(i64::MAX);
    assert_eq!(hot.latest(&[DeviceKey(4)]).await.unwrap(), [[]]);
    assert_eq!(
        hot.recent(DeviceKey(4), NOON, end).await.unwrap().samples,
        []
    );
    hot.put(DeviceKey(4), &[sample(0, NOON, 2)]);
    let ring = hot.recent(DeviceKey(4), NOON, end).await.unwrap();
    assert_eq!(
        ring.samples[0].values.power_dw,
        Some(2),
        "the first of a moment counts, were it his"
    );
    drop((a, b));
}

#[tokio::test]
async fn rings_stay_short_and_small() {
    let server = server();
    let node = Node::at(&server.url(), "").await;
    let hot = node.redis.hot();
    for n in 0..600_i32 {
        let at = Timestamp::from_millis(NOON.as_millis() + i64::from(n) * 5_000);
        hot.put(DeviceKey(1), &[sample(0, at, 400 + n % 7)]);
        if n % 3 == 0 {
            hot.latest(&[]).await.unwrap();
        }
    }
    hot.latest(&[]).await.unwrap();
    let runs: u32 = server
        .cli(&["LLEN", "ring:{strip-1}"])
        .unwrap()
        .parse()
        .unwrap();
    assert!(runs <= 60, "{runs} runs");
    let end = Timestamp::from_millis(i64::MAX);
    let all = hot.recent(DeviceKey(1), NOON, end).await.unwrap().samples;
    assert_eq!(all.len(), 600);
}
