//! A site as the documents have it set up: TLS, passwords and few rights
//! everywhere.

use std::path::Path;

use dormouse_testbed::mosquitto::Mosquitto;
use dormouse_testbed::postgres::{Options as PostgresOptions, Postgres};
use dormouse_testbed::redis::{Options as RedisOptions, Redis};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::lamp::Lamp;
use crate::strip::Strip;
use crate::support::{Server, eventually, run_with};

const REDIS_USER: &str = include_str!("../../../../../docs/redis-user.acl");

/// The servers of the site, and what its nodes are told of them.
struct Site {
    mosquitto: Mosquitto,
    redis: Redis,
    _postgres: Postgres,
    folder: TempDir,
    settings: Settings,
}

type Settings = Vec<(&'static str, String)>;

impl Site {
    async fn start() -> Self {
        tokio::task::spawn_blocking(Self::start_servers)
            .await
            .unwrap()
    }

    fn start_servers() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (postgres, database) = postgres(folder.path());
        let (redis, hot) = redis(folder.path());
        let (mosquitto, broker) = mosquitto();
        Self {
            mosquitto,
            redis,
            _postgres: postgres,
            folder,
            settings: [database, hot, broker].concat(),
        }
    }

    /// Runs the program with the site's settings.
    async fn run(&self, args: &[&str]) -> (i32, String, String) {
        run_with(args, &self.settings(&[])).await
    }

    /// Writes the broker's files and starts it with them.
    async fn configure_broker(&self) {
        let folder = text_of(&self.mosquitto.file("."));
        let folder = folder.trim_end_matches("/.");
        let at = |port| format!("127.0.0.1:{port}");
        let (listen, plain) = (at(self.mosquitto.tls_port()), at(self.mosquitto.port()));
        let pid_file = format!("{folder}/pid");
        let render = ["broker", "mosquitto", "render", "--out", folder];
        let places = [
            ["--data", folder],
            ["--etc-dir", folder],
            ["--mosquitto-data-dir", folder],
            ["--pid-file", &pid_file],
            ["--listen", &listen],
            ["--listen-plain", &plain],
        ];
        let args = [&render[..], places.as_flattened()].concat();
        let (code, _, err) = self.run(&args).await;
        assert_eq!(code, 0, "{err}");
        self.mosquitto.resume_as_configured().unwrap();
    }

    /// Starts the node beside the broker, which keeps its files, or another.
    async fn node(&self, name: &str, is_beside: bool) -> Server {
        let file = |name: &str| text_of(&self.mosquitto.file(name));
        let files = [
            ("DORMOUSE__MOSQUITTO__PASSWORD_FILE", file("passwords")),
            ("DORMOUSE__MOSQUITTO__ACL_FILE", file("acl")),
            ("DORMOUSE__MOSQUITTO__PID_FILE", file("pid")),
        ];
        let more = if is_beside { &files[..] } else { &[] };
        let settings = self.settings(more);
        Server::start_with(&self.folder.path().join(name), &settings).await
    }

    /// What `dormouse check` says of the broker.
    async fn is_locked_down(&self) {
        let account = text_of(&self.mosquitto.file("secrets/check"));
        let account = format!("_check:{account}");
        let args = ["check", "--json", "--check-account", &account];
        let (code, out, err) = self.run(&args).await;
        assert_eq!(code, 0, "{out}{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        let ok: Vec<_> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["verdict"] == "ok")
            .map(|it| it["id"].as_str().unwrap())
            .collect();
        for id in [
            "tls",
            "stranger.password",
            "device.publish",
            "device.command",
            "nodes.account",
        ] {
            assert!(ok.contains(&id), "{id}: {out}");
        }
    }

    fn settings<'s>(&'s self, more: &'s [(&'static str, String)]) -> Vec<(&'static str, &'s str)> {
        let all = self.settings.iter().chain(more);
        all.map(|(key, value)| (*key, value.as_str())).collect()
    }
}

fn postgres(folder: &Path) -> (Postgres, Settings) {
    let server = Postgres::start(&PostgresOptions {
        tls: true,
        hba: Some(
            "hostssl dormouse dormouse 127.0.0.1/32 scram-sha-256\n\
             host all postgres 127.0.0.1/32 trust"
                .to_owned(),
        ),
        ..PostgresOptions::default()
    })
    .unwrap();
    for statement in [
        "CREATE ROLE dormouse LOGIN PASSWORD 'of-the-database'",
        "CREATE DATABASE dormouse OWNER dormouse",
    ] {
        server.sql("postgres", statement).unwrap();
    }
    let url = format!(
        "postgres://dormouse@127.0.0.1:{}/dormouse?sslmode=verify-full&sslrootcert={}",
        server.port(),
        text_of(&server.authority())
    );
    let password = secret(folder, "database", "of-the-database");
    let settings = vec![
        ("DORMOUSE__DATABASE__URL", url),
        ("DORMOUSE__DATABASE__PASSWORD_FILE", password),
    ];
    (server, settings)
}

fn redis(folder: &Path) -> (Redis, Settings) {
    let user = REDIS_USER
        .replace("PASSWORD", "of-redis")
        .replace("PREFIX", "site:")
        .replace('\n', " ");
    let server = Redis::with(RedisOptions {
        tls: true,
        users: vec![user],
        ..RedisOptions::default()
    })
    .unwrap();
    let (certificate, key) = server.client_certificate();
    let password = secret(folder, "redis", "of-redis");
    let settings = vec![
        ("DORMOUSE__HOT__URL", server.url()),
        ("DORMOUSE__HOT__USERNAME", "dormouse".to_owned()),
        ("DORMOUSE__HOT__PASSWORD_FILE", password),
        ("DORMOUSE__HOT__CA_FILE", text_of(&server.authority())),
        ("DORMOUSE__HOT__CERTIFICATE_FILE", text_of(&certificate)),
        ("DORMOUSE__HOT__KEY_FILE", text_of(&key)),
        ("DORMOUSE__HOT__PREFIX", "site:".to_owned()),
    ];
    (server, settings)
}

/// A broker to be configured, by what `render` will say of it.
fn mosquitto() -> (Mosquitto, Settings) {
    let server = Mosquitto::unconfigured().unwrap();
    let url = format!("mqtts://127.0.0.1:{}", server.tls_port());
    let password = text_of(&server.file("secrets/nodes"));
    let settings = vec![
        ("DORMOUSE__BROKER__URL", url),
        ("DORMOUSE__BROKER__USERNAME", "_dormouse".to_owned()),
        ("DORMOUSE__BROKER__PASSWORD_FILE", password),
        ("DORMOUSE__BROKER__CA_FILE", text_of(&server.file("ca.pem"))),
    ];
    (server, settings)
}

/// A file with a password; its path.
fn secret(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, format!("{text}\n")).unwrap();
    text_of(&file)
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn with_tls_and_few_rights_everywhere_two_nodes_work_and_are_locked_down() {
    let site = Site::start().await;
    site.configure_broker().await;
    let beside = site.node("beside", true).await;
    let other = site.node("other", false).await;

    // Added where nobody can write the broker's files.
    let password = other.add_device("strip", 4).await;
    let broker = ("127.0.0.1".to_owned(), site.mosquitto.port());
    let lamp = Lamp::connect_to(broker.clone(), "strip", &password).await;
    let reading = json!({"boot": 1, "seq": 1, "powerW": 42.5});
    lamp.measure(&reading).await;
    for node in [&beside, &other] {
        has_measured(node).await;
        obeys(node).await;
    }
    let keys = site.redis.cli(&["KEYS", "*"]).unwrap();
    assert!(keys.lines().count() > 3, "{keys}");
    assert!(keys.lines().all(|key| key.starts_with("site:")), "{keys}");
    site.is_locked_down().await;

    let path = "/api/v1/devices/strip/credentials";
    let (status, body) = other.request(Method::DELETE, path, None).await;
    assert!(status.is_success(), "{status} {body}");
    eventually("the broker refuses who was revoked", async || {
        Strip::refused_by(broker.clone(), "strip", &password).await
    })
    .await;
    drop(lamp);
    beside.stop().await;
    other.stop().await;
}

async fn has_measured(node: &Server) {
    eventually("the strip is online and has measured", async || {
        let device = node.get("/api/v1/devices/strip").await;
        let path = "/api/v1/devices/strip/history?resolution=raw";
        let history = node.get(path).await;
        let is_online = device["presence"]["state"] == "online";
        (is_online && history["points"].as_array()?.len() == 1).then_some(())
    })
    .await;
}

async fn obeys(node: &Server) {
    let path = "/api/v1/devices/strip/sockets/2/commands";
    let sent = node.post(path, json!({"action": "on"})).await;
    let path = format!("/api/v1/commands/{}", sent["cmdId"].as_str().unwrap());
    let settled = eventually("the verdict", async || {
        let command = node.get(&path).await;
        (command["state"] != "pending").then_some(command)
    })
    .await;
    assert_eq!(settled["state"], "success", "{settled}");
}
