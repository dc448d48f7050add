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

use super::exchange::Ears;
use super::scripts::Scripts;
use super::server::{Server, nodes_in};
use super::settings::Target;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(1);
/// How often a command is tried again that a cluster sends elsewhere, or that
/// must wait while keys of its slot move.
const RETRIES: u32 = 5;
/// The waits between these, ms: all of them fit into what an answer may take.
const RETRY_MIN_MS: u64 = 5;
const RETRY_MAX_MS: u64 = 100;

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
            .retries(RETRIES)
            .retry_wait_formula(10, 2)
            .min_retry_wait(RETRY_MIN_MS)
            .max_retry_wait(RETRY_MAX_MS);
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

    /// Where a cluster's servers are: host and port.
    pub(super) async fn nodes(&mut self) -> RedisResult<Vec<(String, u16)>> {
        let Self::Cluster(connection) = self else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let random = redis::cluster_routing::SingleNodeRoutingInfo::Random;
        let route = redis::cluster_routing::RoutingInfo::SingleNode(random);
        Ok(nodes_in(connection.route_command(command, route).await?))
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

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}
