//! The pool that all PostgreSQL adapters share.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, Runtime};
use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::ports::PortError;
use dormouse_core::secret::Secret;
use rand::Rng as _;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::connect::Connector;
use super::convert::Moment;
use super::error::{Failure, StatementError};
use super::schema::{self, Area};
use super::trouble::Trouble;
use super::url::Address;
use super::{OpenError, facts, tls};

/// How long a caller waits for a connection while all are busy.
const WAIT: Duration = Duration::from_secs(5);
/// How long a caller waits between two attempts to get a connection while the
/// server lets no more in.
const CROWDED: Duration = Duration::from_millis(100);
/// How often a statement is tried again that met another one.
const AGAIN: u32 = 2;
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
    trouble: Arc<Trouble>,
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
        facts::check(&client, &tried).await?;
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
        let trouble = Arc::<Trouble>::default();
        let connected = {
            let trouble = Arc::clone(&trouble);
            Hook::sync_fn(move |_: &mut deadpool_postgres::ClientWrapper, _| {
                trouble.connected();
                Ok(())
            })
        };
        let manager = Manager::from_connect(address.config, connector, ManagerConfig::default());
        let pool = Pool::builder(manager)
            .max_size(settings.pool_max.max(1))
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(patience))
            .pre_recycle(recycled)
            .post_create(connected)
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
            trouble,
        })
    }

    /// Whether the database answers now, and takes in what it is given.
    ///
    /// # Errors
    /// When it does not: why.
    pub async fn probe(&self) -> Result<(), PortError> {
        let sql = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
        if get(&self.query_one(sql, &[]).await?, 0)? {
            // Of several hosts another one may take writes by now: new
            // connections find it.
            drop(self.pool.retain(|_, _| false));
            let why = "is read-only: a standby, or default_transaction_read_only is on";
            return Err(PortError::unavailable(why));
        }
        match self.trouble.refusal() {
            Some(why) => Err(PortError::unavailable(why)),
            None => Ok(()),
        }
    }

    /// Notes how a batch of samples went, for [`Postgres::probe`].
    pub(super) fn note_batch<T>(&self, batch: &Result<T, PortError>) {
        self.trouble.note(batch);
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

    /// A connection, for transactions; statements go through its cache. While
    /// the server lets no more in, callers share those there are.
    pub(crate) async fn connection(&self) -> Result<Object, PortError> {
        let deadline = Instant::now() + WAIT;
        loop {
            let error = match self.pool.get().await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let others = self.pool.status().size;
            let wait = CROWDED.mul_f64(rand::rng().random_range(0.5..1.5));
            let is_crowded = self.trouble.is_crowded(&error, others);
            if !is_crowded || others == 0 || Instant::now() + wait > deadline {
                return Err(PortError::unavailable(error));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// The rows that a statement answers.
    pub(crate) async fn query(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, PortError> {
        let client = self.connection().await?;
        in_time(repeated(|| async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        }))
        .await
    }

    /// The one row that a statement answers.
    pub(crate) async fn query_one(&self, sql: &str, values: Values<'_>) -> Result<Row, PortError> {
        let client = self.connection().await?;
        in_time(repeated(|| async {
            let statement = client.prepare_cached(sql).await?;
            client.query_one(&statement, values).await
        }))
        .await
    }

    /// The row that a statement answers, if any.
    pub(crate) async fn query_opt(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Option<Row>, PortError> {
        let client = self.connection().await?;
        in_time(repeated(|| async {
            let statement = client.prepare_cached(sql).await?;
            client.query_opt(&statement, values).await
        }))
        .await
    }

    /// How many rows a statement changed.
    pub(crate) async fn execute(&self, sql: &str, values: Values<'_>) -> Result<usize, PortError> {
        let client = self.connection().await?;
        let changed = in_time(repeated(|| async {
            let statement = client.prepare_cached(sql).await?;
            client.execute(&statement, values).await
        }))
        .await?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }
}

/// What stands for `$1` and so on.
type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Does `work`, which is one statement, again where it met another one's: the
/// server has undone it.
async fn repeated<T, F>(work: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut left = AGAIN;
    loop {
        match work().await {
            Err(error) if left > 0 && Failure::of(&error) == Failure::Conflict => left -= 1,
            done => return done,
        }
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
    let error = StatementError::new(&error);
    match error.failure {
        Failure::Data => PortError::Refused(error.to_string()),
        Failure::Away | Failure::Refusing | Failure::Conflict | Failure::Statement => {
            PortError::unavailable(error)
        }
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
