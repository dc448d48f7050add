//! A broker configured as `dormouse broker … render` has it, and what stands
//! behind the nodes on it.

use std::path::{Path, PathBuf};

use dormouse_testbed::emqx::{Emqx, Source};
use dormouse_testbed::mosquitto::Mosquitto;
use dormouse_testbed::postgres::{Database, Options, Postgres};
use dormouse_testbed::redis::Redis;
use tempfile::TempDir;

use crate::support::{Server, run_with};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mosquitto,
    Emqx,
}

/// A broker, a Redis and a PostgreSQL, and the folders of the nodes.
pub(super) struct Site {
    pub(super) broker: Broker,
    redis: Redis,
    postgres: Postgres,
    database: Database,
    folders: TempDir,
}

pub(super) enum Broker {
    Mosquitto(Mosquitto),
    Emqx(Emqx),
}

impl Site {
    /// Starts everything with nothing in it.
    pub(super) async fn start(kind: Kind) -> Self {
        let starting = tokio::task::spawn_blocking(move || {
            let postgres = Postgres::start(&Options::default()).unwrap();
            Self {
                broker: Broker::prepare(kind),
                redis: Redis::start().unwrap(),
                database: postgres.database().unwrap(),
                postgres,
                folders: tempfile::tempdir().unwrap(),
            }
        });
        let site = starting.await.unwrap();
        // Makes the tables, which the broker's role is to read.
        let (code, _, err) = site.dormouse(&["device", "export"]).await;
        assert_eq!(code, 0, "{err}");
        site.render().await;
        site.broker.run_as_rendered();
        site
    }

    async fn render(&self) {
        let etc = self.broker.etc();
        let (tls, plain) = (self.broker.tls_port(), self.broker.plain_port());
        let mut args = ["broker", self.broker.name(), "render"]
            .map(str::to_owned)
            .to_vec();
        let mut give = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        give("--out", etc.display().to_string());
        give("--listen", format!("127.0.0.1:{tls}"));
        give("--listen-plain", format!("127.0.0.1:{plain}"));
        match &self.broker {
            Broker::Emqx(emqx) => {
                give("--etc-dir", emqx.etc_dir());
                give("--emqx-data-dir", emqx.data_dir());
                give("--node-name", emqx.node_name());
                give(
                    "--listen-dashboard",
                    format!("127.0.0.1:{}", emqx.api_port()),
                );
            }
            Broker::Mosquitto(mosquitto) => {
                give("--etc-dir", etc.display().to_string());
                give("--mosquitto-data-dir", etc.display().to_string());
                give("--pid-file", shown(&mosquitto.file("pid")));
                give("--data", self.data("render").display().to_string());
            }
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let env = self.database_environment();
        let (code, _, err) = run_with(&args, &borrowed(&env)).await;
        assert_eq!(code, 0, "{err}");
        if matches!(self.broker, Broker::Emqx(_)) {
            let role = std::fs::read_to_string(etc.join("database-role.sql")).unwrap();
            let name = self.database.url.rsplit_once('/').unwrap().1;
            let name = name.split('?').next().unwrap();
            self.postgres.sql(name, &role).unwrap();
        }
    }

    /// Starts `count` nodes, the first one alone: it finds the broker empty.
    pub(super) async fn nodes(&self, count: usize) -> Vec<Server> {
        let mut nodes = Vec::new();
        for n in 0..count {
            nodes.push(self.node(&self.data(&format!("node-{n}"))).await);
        }
        nodes
    }

    /// Starts a node with its journal in `data`. It speaks TLS; the strips of
    /// a test do not.
    pub(super) async fn node(&self, data: &Path) -> Server {
        let env = self.environment();
        let mut node = Server::start_with(data, &borrowed(&env)).await;
        node.ready.mqtt = format!("mqtt://127.0.0.1:{}", self.broker.plain_port());
        node
    }

    /// Runs the binary with a site's settings to its end.
    pub(super) async fn dormouse(&self, args: &[&str]) -> (i32, String, String) {
        let data = self.data("tool");
        let args = [args, &["--data", data.to_str().unwrap()]].concat();
        run_with(&args, &borrowed(&self.environment())).await
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folders.path().join(name)
    }

    fn database_environment(&self) -> Vec<(&'static str, String)> {
        vec![("DORMOUSE__DATABASE__URL", self.database.url.clone())]
    }

    /// What the rendered `dormouse.toml` says, and the other engines.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.broker.etc().join(name).display().to_string();
        let mut env = self.database_environment();
        env.push(("DORMOUSE__HOT__URL", self.redis.url()));
        let url = format!("mqtts://localhost:{}", self.broker.tls_port());
        env.push(("DORMOUSE__BROKER__URL", url));
        env.push(("DORMOUSE__BROKER__USERNAME", "_dormouse".to_owned()));
        env.push(("DORMOUSE__BROKER__PASSWORD_FILE", file("secrets/nodes")));
        env.push(("DORMOUSE__BROKER__CA_FILE", file("ca.pem")));
        match &self.broker {
            Broker::Emqx(emqx) => {
                let api = format!("http://127.0.0.1:{}", emqx.api_port());
                env.push(("DORMOUSE__EMQX__API_URL", api));
                env.push(("DORMOUSE__EMQX__API_KEY", "dormouse".to_owned()));
                env.push(("DORMOUSE__EMQX__API_SECRET_FILE", file("secrets/api")));
            }
            Broker::Mosquitto(mosquitto) => {
                env.push(("DORMOUSE__MOSQUITTO__PASSWORD_FILE", file("passwords")));
                env.push(("DORMOUSE__MOSQUITTO__ACL_FILE", file("acl")));
                env.push((
                    "DORMOUSE__MOSQUITTO__PID_FILE",
                    shown(&mosquitto.file("pid")),
                ));
            }
        }
        env
    }
}

impl Broker {
    fn prepare(kind: Kind) -> Self {
        match kind {
            Kind::Emqx => Self::Emqx(Emqx::prepare(Source::find().unwrap()).unwrap()),
            Kind::Mosquitto => Self::Mosquitto(Mosquitto::unconfigured().unwrap()),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Emqx(_) => "emqx",
            Self::Mosquitto(_) => "mosquitto",
        }
    }

    /// The folder that was rendered into.
    pub(super) fn etc(&self) -> PathBuf {
        match self {
            Self::Emqx(emqx) => emqx.etc(),
            Self::Mosquitto(mosquitto) => mosquitto
                .file("mosquitto.conf")
                .parent()
                .unwrap()
                .to_owned(),
        }
    }

    pub(super) const fn tls_port(&self) -> u16 {
        match self {
            Self::Emqx(emqx) => emqx.tls_port(),
            Self::Mosquitto(mosquitto) => mosquitto.tls_port(),
        }
    }

    pub(super) const fn plain_port(&self) -> u16 {
        match self {
            Self::Emqx(emqx) => emqx.plain_port(),
            Self::Mosquitto(mosquitto) => mosquitto.port(),
        }
    }

    /// Starts it with what was rendered and waits until it listens.
    fn run_as_rendered(&self) {
        match self {
            Self::Emqx(emqx) => emqx.run().unwrap(),
            Self::Mosquitto(mosquitto) => mosquitto.resume_as_configured().unwrap(),
        }
    }

    /// Starts it again.
    pub(super) fn run(&self) {
        match self {
            Self::Emqx(emqx) => emqx.run().unwrap(),
            Self::Mosquitto(mosquitto) => mosquitto.resume().unwrap(),
        }
    }

    /// Ends it properly.
    pub(super) fn stop(&self) {
        match self {
            Self::Emqx(emqx) => emqx.stop().unwrap(),
            Self::Mosquitto(mosquitto) => mosquitto.stop().unwrap(),
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn borrowed<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    env.iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect()
}
