//! One connection, made as `sslmode` asks.

use std::future::Future;
use std::pin::Pin;

use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session;
use super::url::TlsMode;

type Connected = Result<(Client, JoinHandle<()>), Error>;

/// Makes the pool's connections.
pub(super) struct Connector {
    mode: TlsMode,
    tls: Option<MakeRustlsConnect>,
}

impl Connector {
    pub(super) fn new(mode: TlsMode, tls: Option<ClientConfig>) -> Self {
        Self {
            mode,
            tls: tls.map(MakeRustlsConnect::new),
        }
    }

    async fn attempt(&self, mut config: Config, mode: SslMode) -> Connected {
        config.ssl_mode(mode);
        match &self.tls {
            Some(tls) => connect(&config, tls.clone()).await,
            None => connect(&config, NoTls).await,
        }
    }

    /// As libpq: where TLS is a matter of taste, the other way is tried once
    /// a server that answers has refused the one.
    pub(super) async fn connect_to(&self, config: Config) -> Connected {
        let (first, second) = match self.mode {
            TlsMode::Disable => (SslMode::Disable, None),
            TlsMode::Allow => (SslMode::Disable, Some(SslMode::Require)),
            TlsMode::Prefer => (SslMode::Prefer, Some(SslMode::Disable)),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => (SslMode::Require, None),
        };
        let refused = match self.attempt(config.clone(), first).await {
            Err(error) if error.as_db_error().is_some() || super::error::is_tls(&error) => error,
            other => return other,
        };
        match second {
            // What the first attempt was told says more.
            Some(mode) => self.attempt(config, mode).await.map_err(|_| refused),
            None => Err(refused),
        }
    }
}

impl deadpool_postgres::Connect for Connector {
    fn connect(&self, config: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(self.connect_to(config.clone()))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it ends with its connection, which the pool closes"
)]
async fn connect<T>(config: &Config, tls: T) -> Connected
where
    T: MakeTlsConnect<Socket> + Send,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a database connection ended");
        }
    });
    session::prepare(&client).await?;
    Ok((client, driver))
}
