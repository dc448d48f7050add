//! Everything against real servers: alone, as a Cluster, with TLS and users,
//! and when they go away.

mod cluster;
mod opening;
mod outage;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::SocketId;
use dormouse_core::memory::MemoryDirectory;
use dormouse_core::ports::nodes::NodeId;
use dormouse_core::sample::{Sample, Values};
use dormouse_testbed::redis::Options;
use tokio::sync::mpsc;

use super::{OpenError, Redis, RedisSettings};
use crate::tasks::Tasks;

const NOON: Timestamp = Timestamp::from_millis(1_767_355_200_000);

/// The rule of docs/redis.md, for keys behind `test:`.
const RULE: &str = include_str!("../../../../../../docs/redis-user.acl");

/// A node's side of a server.
struct Node {
    redis: Redis,
    tasks: Tasks,
    /// Kept, so that tasks may die loudly.
    _deaths: mpsc::Receiver<&'static str>,
}

impl Node {
    async fn open(settings: &RedisSettings) -> Result<Self, OpenError> {
        let directory = MemoryDirectory::default();
        for n in 1..=20 {
            directory.add(&format!("strip-{n}"), "A/3");
        }
        let (tasks, deaths) = Tasks::new();
        let redis = Redis::open(settings, Arc::new(directory), &tasks).await?;
        Ok(Self {
            redis,
            tasks,
            _deaths: deaths,
        })
    }

    async fn at(url: &str, prefix: &str) -> Self {
        let settings = RedisSettings {
            url: url.to_owned(),
            prefix: prefix.to_owned(),
            ..RedisSettings::default()
        };
        Self::open(&settings).await.unwrap()
    }
}

fn node_id(name: &str) -> NodeId {
    NodeId(name.into())
}

fn server() -> dormouse_testbed::redis::Redis {
    dormouse_testbed::redis::Redis::start().unwrap()
}

/// A server that asks for certificates, with the user `dormouse` as
/// documented, and the settings that fit.
fn guarded_server(prefix: &str) -> (dormouse_testbed::redis::Redis, RedisSettings) {
    let rule = RULE.lines().collect::<Vec<_>>().join(" ");
    let rule = rule
        .replace("PASSWORD", "sesame")
        .replace("PREFIX", "test:");
    let server = dormouse_testbed::redis::Redis::with(Options {
        tls: true,
        users: vec![rule],
        ..Options::default()
    })
    .unwrap();
    let password = server.authority().with_file_name("password");
    std::fs::write(&password, "sesame\n").unwrap();
    let (certificate, key) = server.client_certificate();
    let settings = RedisSettings {
        url: server.url(),
        username: Some("dormouse".to_owned()),
        password_file: Some(password),
        ca_file: Some(server.authority()),
        certificate_file: Some(certificate),
        key_file: Some(key),
        prefix: prefix.to_owned(),
    };
    (server, settings)
}

fn sample(socket: u64, at: Timestamp, power_dw: i32) -> Sample {
    Sample {
        socket: SocketId::parse(socket).unwrap(),
        ts: at,
        values: Values {
            power_dw: Some(power_dw),
            ..Values::default()
        },
    }
}

/// Waits until `met` says yes.
async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !met().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(in_time.is_ok(), "{what}");
}
