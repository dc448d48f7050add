//! Connections: opening one, and what a server must be and allow.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult,
    ServerErrorKind, Value,
};

use super::OpenError;
use super::exchange::Ears;
use super::scripts::Scripts;
use super::settings::Target;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(1);
/// The oldest Redis that has all that is used.
const OLDEST: u32 = 7;

/// A connection that many use at once.
#[derive(Clone)]
pub(super) enum Conn {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Conn {
    /// Connects; `push` hears of messages of subscribed channels. An answer
    /// may take `patience`.
    pub(super) async fn open(
        target: &Target,
        push: Option<Ears>,
        patience: Duration,
    ) -> RedisResult<Self> {
        crate::tls::use_ring();
        let connecting = async {
            if target.cluster {
                Self::open_cluster(target, push, patience).await
            } else {
                Self::open_single(target, push, patience).await
            }
        };
        let in_time = tokio::time::timeout(CONNECT * 3, connecting).await;
        in_time.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "no answer in time"))))
    }

    async fn open_single(
        target: &Target,
        push: Option<Ears>,
        patience: Duration,
    ) -> RedisResult<Self> {
        let Some(address) = target.hosts.first() else {
            return Err((ErrorKind::InvalidClientConfig, "no host").into());
        };
        let info = target.info(address)?;
        let client = match &target.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone())?,
            None => Client::open(info)?,
        };
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(patience));
        if let Some(push) = push {
            config = config.set_push_sender(push);
        }
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Self::Single(connection.await?))
    }

    async fn open_cluster(
        target: &Target,
        push: Option<Ears>,
        patience: Duration,
    ) -> RedisResult<Self> {
        let infos = target.hosts.iter().map(|address| target.info(address));
        let infos = infos.collect::<RedisResult<Vec<_>>>()?;
        let mut client = ClusterClientBuilder::new(infos)
            .use_protocol(redis::ProtocolVersion::RESP3)
            .connection_timeout(CONNECT)
            .response_timeout(patience)
            .overall_response_timeout(Some(patience))
            .retries(3)
            .max_retry_wait(200);
        if let Some(certificates) = &target.certificates {
            client = client.certs(certificates.clone());
        }
        if let Some(push) = push {
            client = client.push_sender(push);
        }
        let connection = client.build()?.get_async_connection().await?;
        Ok(Self::Cluster(connection))
    }

    /// Runs `commands` in order, in one round trip, and answers each.
    ///
    /// # Errors
    /// When the server cannot be reached; then nobody knows which were run.
    pub(super) async fn send(
        &mut self,
        commands: &Pipeline,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::Single(connection) => commands.query_async(connection).await,
            Self::Cluster(connection) => {
                let one = async |command: &Cmd| {
                    let mut connection = connection.clone();
                    command.query_async::<Value>(&mut connection).await
                };
                let answers = join_all(commands.cmd_iter().map(one)).await;
                match answers
                    .iter()
                    .find_map(|it| it.as_ref().err().filter(|e| is_down(e)))
                {
                    Some(error) => Err(error.clone()),
                    None => Ok(answers),
                }
            }
        }
    }

    /// Runs one command.
    pub(super) async fn query<T: redis::FromRedisValue>(
        &mut self,
        command: &Cmd,
    ) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    pub(super) async fn subscribe(&mut self, channel: &str) -> RedisResult<()> {
        match self {
            Self::Single(connection) => connection.subscribe(channel).await,
            Self::Cluster(connection) => connection.subscribe(channel).await,
        }
    }

    /// Makes every master know the scripts.
    pub(super) async fn load_scripts(&mut self) -> RedisResult<()> {
        for command in Scripts::load() {
            self.query::<Value>(&command).await?;
        }
        Ok(())
    }

    /// Says which server this is; the first of a cluster's.
    pub(super) async fn server(&mut self) -> RedisResult<Server> {
        let mut command = redis::cmd("INFO");
        command.arg("server");
        let text: String = match self {
            Self::Single(connection) => command.query_async(connection).await?,
            Self::Cluster(connection) => {
                let random = redis::cluster_routing::SingleNodeRoutingInfo::Random;
                let route = redis::cluster_routing::RoutingInfo::SingleNode(random);
                let value = connection.route_command(command, route).await?;
                redis::from_redis_value(value)?
            }
        };
        Ok(Server::read(&text))
    }
}

/// `commands` as [`Conn::send`] takes them.
pub(super) fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Pipeline {
    let commands = commands.into_iter();
    let mut pipeline = Pipeline::with_capacity(commands.size_hint().0);
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline.ignore_errors();
    pipeline
}

/// What a server says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) cluster: bool,
}

impl Server {
    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        Self {
            version: field("redis_version:"),
            cluster: field("redis_mode:") == "cluster",
        }
    }

    pub(super) fn is_too_old(&self) -> bool {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse::<u32>().is_ok_and(|major| major < OLDEST)
    }
}

/// Whether an answer means that the server as a whole does not serve now, as
/// opposed to one command that it refuses.
pub(super) fn is_down(error: &RedisError) -> bool {
    let lasting = [
        ErrorKind::Io,
        ErrorKind::AuthenticationFailed,
        ErrorKind::ClusterConnectionNotFound,
        ErrorKind::Server(ServerErrorKind::BusyLoading),
        ErrorKind::Server(ServerErrorKind::ClusterDown),
        ErrorKind::Server(ServerErrorKind::MasterDown),
        ErrorKind::Server(ServerErrorKind::ReadOnly),
        ErrorKind::Server(ServerErrorKind::TryAgain),
        ErrorKind::Server(ServerErrorKind::Moved),
        ErrorKind::Server(ServerErrorKind::Ask),
    ];
    lasting.contains(&error.kind()) || error.is_timeout() || error.is_connection_dropped()
}

/// Why opening failed, for whoever wrote the settings.
pub(super) fn explain(target: &Target, error: &RedisError) -> OpenError {
    let name = target.name();
    let detail = error.detail().unwrap_or_default();
    let kind = error.kind();
    let (setting, problem) = if error.code() == Some("NOAUTH") {
        (
            "password_file",
            format!("is needed: Redis at {name} asks for a password"),
        )
    } else if kind == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS") {
        (
            "username",
            format!("and hot.password_file are refused by Redis at {name}: {detail}"),
        )
    } else if kind == ErrorKind::Server(ServerErrorKind::NoPerm) || detail.contains("can't run") {
        (
            "username",
            format!(
                "lacks a right on Redis at {name}: {detail}; docs/redis.md has the rule that gives all that is needed"
            ),
        )
    } else {
        (
            "url",
            format!(
                "does not lead to Redis: {name}: {error}; does it run there, and may this machine reach it?"
            ),
        )
    };
    OpenError {
        setting: format!("hot.{setting}"),
        problem,
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_its_version_and_mode() {
        let server = Server::read("# Server\r\nredis_version:6.2.7\r\nredis_mode:cluster\r\n");
        assert!(server.is_too_old() && server.cluster);
        assert!(!Server::read("redis_version:7.0.15\nredis_mode:standalone").is_too_old());
        assert!(!Server::read("redis_version:10.1").is_too_old());
    }
}
