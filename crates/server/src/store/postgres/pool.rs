//! The pool that all PostgreSQL adapters share.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, Runtime};
use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::ports::PortError;
use dormouse_core::secret::Secret;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::connect::Connector;
use super::convert::Moment;
use super::schema::{self, Area};
use super::url::{Address, add_options};
use super::{OpenError, tls};

/// How long a caller waits for a connection while all are busy.
const WAIT: Duration = Duration::from_secs(5);
/// How long the server works on one statement at most.
const STATEMENT_MS: u32 = 30_000;
/// How long a statement waits for a lock at most.
const LOCK_MS: u32 = 10_000;
/// How long a transaction may sit idle until the server ends its session, so
/// that a node that froze keeps nobody waiting.
const IDLE_IN_TRANSACTION_MS: u32 = 15_000;
/// How long we wait for an answer: longer than the server's own limits, which
/// say more about what happened.
const ANSWER: Duration = Duration::from_secs(35);
/// How long sent data may stay unacknowledged until the connection counts as
/// lost, unless the URL says something else.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// How long a connection is silent before the system asks whether the other
/// side is there, unless the URL says something else.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// `postgres://user@host:port/database?parameters`.
    pub url: String,
    /// The file with the password, where the URL has none.
    pub password_file: Option<PathBuf>,
    /// Connections at most.
    pub pool_max: usize,
    /// How long until a connection counts as failed.
    pub connect_timeout: Duration,
    /// The node's name, for the server's list of connections.
    pub node: String,
}

/// A PostgreSQL database: a pool of connections that heals by itself. Clones
/// share it.
#[derive(Clone)]
pub struct Postgres {
    pool: Pool,
    clock: Arc<dyn Clock>,
    tried: Arc<str>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Postgres").field(&self.tried).finish()
    }
}

impl Postgres {
    /// Connects, checks the server, and brings the tables of `areas` up to
    /// date; several nodes may do so at once.
    ///
    /// # Errors
    /// Why the database cannot be used.
    pub async fn open(
        settings: &PostgresSettings,
        clock: Arc<dyn Clock>,
        areas: &[Area],
    ) -> Result<Self, OpenError> {
        let opened = Self::open_to_move(settings, clock, areas).await?;
        match opened.is_half_moved().await {
            Ok(false) => Ok(opened),
            Ok(true) => Err(OpenError::HalfMoved {
                tried: opened.tried.to_string(),
            }),
            Err(error) => Err(OpenError::Failed {
                tried: opened.tried.to_string(),
                why: error.to_string(),
            }),
        }
    }

    /// Whether a site was moved here, but not to the end.
    async fn is_half_moved(&self) -> Result<bool, PortError> {
        let there = "SELECT to_regclass('moving') IS NOT NULL";
        if !get(&self.query_one(there, &[]).await?, 0)? {
            return Ok(false);
        }
        let unfinished = "SELECT EXISTS (SELECT FROM moving WHERE finished_at IS NULL)";
        get(&self.query_one(unfinished, &[]).await?, 0)
    }

    /// [`Postgres::open`] for a site that is being moved here.
    ///
    /// # Errors
    /// Why the database cannot be used.
    pub async fn open_to_move(
        settings: &PostgresSettings,
        clock: Arc<dyn Clock>,
        areas: &[Area],
    ) -> Result<Self, OpenError> {
        let mut address = Address::parse(&settings.url)?;
        prepare(&mut address, settings)?;
        let tried = address.tried();
        let connector = Connector::new(address.tls, tls::client_config(&address)?);
        // By hand first: the pool's errors say less.
        let first = connector.connect_to(address.config.clone());
        // Each host has its time, and so has the sign-in.
        let hosts = u32::try_from(address.config.get_hosts().len()).unwrap_or(1);
        let patience = settings.connect_timeout * hosts.saturating_add(1);
        let first = match tokio::time::timeout(patience, first).await {
            Ok(first) => first.map_err(|error| super::error::not_connected(tried.clone(), &error)),
            Err(_) => Err(OpenError::Unreachable {
                tried: tried.clone(),
                why: format!("no answer within {patience:?}"),
            }),
        };
        let (mut client, driver) = first?;
        schema::check(&client, &tried).await?;
        schema::migrate(&mut client, &tried, areas).await?;
        drop(client);
        driver.abort();

        let recycled = Hook::sync_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            // Said here, where nothing is logged about it.
            if client.is_closed() {
                Err(HookError::message("closed"))
            } else {
                Ok(())
            }
        });
        let manager = Manager::from_connect(address.config, connector, ManagerConfig::default());
        let pool = Pool::builder(manager)
            .max_size(settings.pool_max.max(1))
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(patience))
            .pre_recycle(recycled)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| OpenError::Failed {
                tried: tried.clone(),
                why: error.to_string(),
            })?;
        Ok(Self {
            pool,
            clock,
            tried: tried.into(),
        })
    }

    /// Whether the database answers now.
    ///
    /// # Errors
    /// When it does not.
    pub async fn probe(&self) -> Result<(), PortError> {
        self.query("SELECT 1", &[]).await.map(drop)
    }

    /// Now, by the database's clock.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn now(&self) -> Result<Timestamp, PortError> {
        let row = self.query_one("SELECT clock_timestamp()", &[]).await?;
        let Moment(now) = get(&row, 0)?;
        Ok(now)
    }

    /// How many milliseconds the database's clock is ahead of ours.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn clock_offset_ms(&self) -> Result<i64, PortError> {
        let before = self.clock.now().as_millis();
        let there = self.now().await?.as_millis();
        let after = self.clock.now().as_millis();
        Ok(there - before.midpoint(after))
    }

    /// Host, port and database, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.tried
    }

    /// Closes all connections; waits for none that is in use.
    pub fn close(&self) {
        self.pool.close();
    }

    /// A connection, for transactions; statements go through its cache.
    pub(crate) async fn connection(&self) -> Result<Object, PortError> {
        self.pool.get().await.map_err(PortError::unavailable)
    }

    /// The rows that a statement answers.
    pub(crate) async fn query(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PortError> {
        let client = self.connection().await?;
        in_time(async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        })
        .await
    }

    /// The one row that a statement answers.
    pub(crate) async fn query_one(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, PortError> {
        let client = self.connection().await?;
        in_time(async {
            let statement = client.prepare_cached(sql).await?;
            client.query_one(&statement, values).await
        })
        .await
    }

    /// The row that a statement answers, if any.
    pub(crate) async fn query_opt(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, PortError> {
        let client = self.connection().await?;
        in_time(async {
            let statement = client.prepare_cached(sql).await?;
            client.query_opt(&statement, values).await
        })
        .await
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<usize, PortError> {
        let client = self.connection().await?;
        let changed = in_time(async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, values).await
        })
        .await?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }
}

/// Waits for the database, but not for ever.
pub(crate) async fn in_time<T>(
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, PortError> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(done) => done.map_err(failed),
        Err(elapsed) => Err(PortError::unavailable(elapsed)),
    }
}

/// A statement's failure as the port's.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn failed(error: Error) -> PortError {
    let words = super::error::words(&error);
    if super::error::is_of_the_data(&error) {
        PortError::Refused(words)
    } else {
        PortError::unavailable(words)
    }
}

/// A column's value.
pub(crate) fn get<'a, I, T>(row: &'a Row, column: I) -> Result<T, PortError>
where
    I: tokio_postgres::row::RowIndex + std::fmt::Display,
    T: tokio_postgres::types::FromSql<'a>,
{
    row.try_get(column)
        .map_err(|error| PortError::Corrupt(super::error::words(&error)))
}

/// Completes what the URL says by the settings.
fn prepare(address: &mut Address, settings: &PostgresSettings) -> Result<(), OpenError> {
    let config = &mut address.config;
    if let Some(path) = &settings.password_file {
        if config.get_password().is_some() {
            return Err(OpenError::Url(
                "there is a password in it and a database.password_file, too: keep one of them"
                    .to_owned(),
            ));
        }
        let password = read_password(path)?;
        config.password(password.expose());
    }
    if config.get_application_name().is_none() {
        config.application_name(format!("dormouse/{}", settings.node));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(settings.connect_timeout);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_keepalives_idle() == Duration::from_secs(2 * 60 * 60) {
        config.keepalives_idle(KEEPALIVE);
    }
    // The URL's own options come later and win.
    let own = config.get_options().map(str::to_owned);
    config.options(format!(
        "-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_MS} \
         -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS} -c timezone=UTC"
    ));
    if let Some(own) = own {
        add_options(config, &own);
    }
    Ok(())
}

fn read_password(path: &std::path::Path) -> Result<Secret, OpenError> {
    let unusable = |why: String| OpenError::File {
        setting: "database.password_file",
        path: path.display().to_string(),
        why,
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(Secret::new(password))
}
