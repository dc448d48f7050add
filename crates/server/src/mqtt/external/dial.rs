//! From an address to an open MQTT session, or to the reason why not.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::problem::{LinkError, Spoken};
use super::settings::{Account, Versions};
use super::wire::{Codec, Hello, Incoming, Version, Welcome, knows_no_v5};

/// How long each step (connection, TLS, CONNACK) may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A byte stream, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a session in one version was not opened.
enum Failure {
    /// The broker has no MQTT 5.
    NoV5,
    Other(LinkError),
}

impl<E: Into<LinkError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Opens a session in the newest version that settings and broker allow.
///
/// # Errors
/// Why the broker cannot be used.
pub(super) async fn dial(account: &Account, hello: &Hello) -> Result<Connection, LinkError> {
    let first = match account.versions {
        Versions::Auto | Versions::V5 => Version::V5,
        Versions::V311 => Version::V311,
    };
    match open(account, hello, first).await {
        Ok(connection) => Ok(connection),
        Err(Failure::Other(error)) => Err(error),
        Err(Failure::NoV5) if account.versions == Versions::Auto => {
            match open(account, hello, Version::V311).await {
                Ok(connection) => Ok(connection),
                Err(Failure::Other(error)) => Err(error),
                Err(Failure::NoV5) => Err(refused(account, hello, Version::V311, 1)),
            }
        }
        Err(Failure::NoV5) => Err(refused(account, hello, Version::V5, 0x84)),
    }
}

async fn open(account: &Account, hello: &Hello, version: Version) -> Result<Connection, Failure> {
    let mut stream = connect(account).await?;
    let mut codec = Codec::new(version);
    let mut out = BytesMut::new();
    codec.connect(hello, &mut out)?;
    let mut input = BytesMut::new();
    let address: Arc<str> = account.address().into();
    let answer = async {
        stream.write_all(&out).await?;
        stream.flush().await?;
        read_answer(&address, &mut *stream, &mut codec, &mut input).await
    };
    let incoming = in_time(account, "the MQTT greeting", answer).await??;
    match incoming {
        Incoming::Welcome(welcome) => {
            check(&welcome, hello)?;
            Ok(Connection::new(stream, codec, input, hello, welcome))
        }
        Incoming::Unwelcome { code } => Err(refused(account, hello, version, code).into()),
        Incoming::Message(_)
        | Incoming::Taken { .. }
        | Incoming::Subscribed(_)
        | Incoming::Unsubscribed
        | Incoming::Pong
        | Incoming::Closed { .. } => {
            Err(LinkError::Unexpected("something else than CONNACK first").into())
        }
    }
}

async fn connect(account: &Account) -> Result<Box<dyn Stream>, LinkError> {
    let address: Arc<str> = account.address().into();
    let unreachable = |error: io::Error| LinkError::Unreachable {
        address: Arc::clone(&address),
        cause: Arc::new(error),
    };
    let target = (account.host.as_str(), account.port);
    let tcp = in_time(account, "the connection", TcpStream::connect(target)).await?;
    let tcp = tcp.map_err(unreachable)?;
    tcp.set_nodelay(true)?;
    let Some((config, name)) = &account.tls else {
        return Ok(Box::new(tcp));
    };
    let connector = TlsConnector::from(Arc::clone(config));
    let secured = in_time(account, "TLS", connector.connect(name.clone(), tcp)).await?;
    match secured {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(LinkError::Tls {
            address,
            advice: advice(&error),
            cause: Arc::new(error),
        }),
    }
}

fn advice(error: &io::Error) -> &'static str {
    let inner = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "does broker.ca_file name the authority that signed the broker's certificate, and is broker.url's host one of its names?"
        }
        Some(rustls::Error::AlertReceived(_)) => {
            "does the broker want a client certificate (broker.certificate_file, broker.key_file), signed by an authority it trusts?"
        }
        Some(_) | None => "is the port one that speaks TLS?",
    }
}

async fn in_time<T>(
    account: &Account,
    what: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, LinkError> {
    let late = |_| LinkError::NoAnswer {
        address: account.address().into(),
        what,
        after: PATIENCE,
    };
    timeout(PATIENCE, work).await.map_err(late)
}

fn hung_up(address: &Arc<str>, error: io::Error) -> LinkError {
    LinkError::HungUp {
        address: Arc::clone(address),
        cause: Arc::new(error),
    }
}

async fn read_answer(
    address: &Arc<str>,
    stream: &mut dyn Stream,
    codec: &mut Codec,
    input: &mut BytesMut,
) -> Result<Incoming, Failure> {
    let asked_v5 = codec.version() == Version::V5;
    loop {
        let read = stream.read_buf(input).await;
        // A TLS 1.3 server refuses our certificate after its own part is done.
        let read = read.map_err(|error| match error.get_ref() {
            Some(inner) if inner.is::<rustls::Error>() => LinkError::Tls {
                address: Arc::clone(address),
                advice: advice(&error),
                cause: Arc::new(error),
            },
            Some(_) | None => hung_up(address, error),
        })?;
        if read == 0 {
            // Some brokers close at once on a version they do not know.
            return Err(if asked_v5 && input.is_empty() {
                Failure::NoV5
            } else {
                hung_up(address, io::ErrorKind::UnexpectedEof.into()).into()
            });
        }
        if asked_v5 && input.len() >= 4 && knows_no_v5(input) {
            return Err(Failure::NoV5);
        }
        if input.len() >= 4
            && let Some(incoming) = codec.decode(input)?
        {
            return Ok(incoming);
        }
    }
}

/// What every session of ours needs.
fn check(welcome: &Welcome, hello: &Hello) -> Result<(), LinkError> {
    if !welcome.qos1 {
        return Err(LinkError::Lacks {
            what: "QoS 1",
            remedy: "let it accept QoS 1 (on EMQX: mqtt.max_qos_allowed = 1 or 2)",
        });
    }
    if !welcome.wildcards {
        return Err(LinkError::Lacks {
            what: "subscriptions with wildcards",
            remedy: "switch them on (on EMQX: mqtt.wildcard_subscription = true)",
        });
    }
    if hello.shared && !welcome.shared {
        return Err(LinkError::Lacks {
            what: "shared subscriptions",
            remedy: "switch them on (on EMQX: mqtt.shared_subscription = true) or use a broker that has them",
        });
    }
    if !hello.expiry.is_zero() && welcome.expiry.is_some_and(|it| it.is_zero()) {
        return Err(LinkError::Lacks {
            what: "persistent sessions",
            remedy: "let sessions outlive their connections (on Mosquitto: persistent_client_expiration; on EMQX: mqtt.session_expiry_interval)",
        });
    }
    Ok(())
}

fn refused(account: &Account, hello: &Hello, version: Version, code: u8) -> LinkError {
    LinkError::Refused {
        username: account.username.clone(),
        client_id: hello.client_id.clone(),
        version: Spoken(version),
        code,
    }
}
