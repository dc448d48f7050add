//! Where a broker is, and the way there.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::PATIENCE;
use super::client::ConnectError;

/// A byte stream, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Whom TLS trusts, and who we are there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'p> {
    /// File with the certificates to trust; `None` for the system's.
    pub ca_file: Option<&'p Path>,
    /// Files with our certificate and its key.
    pub identity: Option<(&'p Path, &'p Path)>,
}

/// A broker's address.
#[derive(Clone)]
pub struct Target {
    /// Its host's name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Why an address cannot be used. Names what to look at, never a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

/// An open way to a broker.
pub(super) struct Peer {
    pub(super) stream: Box<dyn Stream>,
    /// When the certificate shown ends, unix s; `None` without TLS.
    pub(super) certificate_ends: Option<u64>,
}

impl Target {
    /// Reads `mqtt://host:port` or `mqtts://host:port`.
    ///
    /// # Errors
    /// What is wrong with the address or with a file.
    pub fn parse(url: &str, trust: Trust<'_>) -> Result<Self, TargetError> {
        let wrong = |problem: &str| TargetError(format!("--broker: {problem}"));
        // The address itself is not repeated: it may hold a password.
        let parsed = Url::parse(url).map_err(|_| wrong("must read like mqtts://host:8883"))?;
        let secure = match parsed.scheme() {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(wrong("must begin with mqtt:// or mqtts://")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("must not hold a name or a password"));
        }
        let host = parsed.host_str().filter(|it| !it.is_empty());
        let host = host.ok_or_else(|| wrong("must name a host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = if secure {
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|_| wrong("the host is no name TLS can check"))?;
            Some((Arc::new(client_config(trust)?), name))
        } else {
            None
        };
        Ok(Self {
            host: host.to_owned(),
            port: parsed.port().unwrap_or(if secure { 8883 } else { 1883 }),
            tls,
        })
    }

    /// The same host's listener without TLS.
    pub(super) const fn plain(host: String, port: u16) -> Self {
        Self {
            host,
            port,
            tls: None,
        }
    }

    /// Whether what is said there is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let address: Result<std::net::IpAddr, _> = self.host.parse();
        self.host == "localhost" || address.is_ok_and(|it| it.is_loopback())
    }

    /// Opens the way there.
    pub(super) async fn open(&self) -> Result<Peer, ConnectError> {
        let late = |_| ConnectError::Unreachable("no answer in time".to_owned());
        let unreachable = |error: io::Error| ConnectError::Unreachable(error.to_string());
        let tcp = TcpStream::connect((self.host.as_str(), self.port));
        let tcp = timeout(PATIENCE, tcp).await.map_err(late)?;
        let tcp = tcp.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let Some((config, name)) = &self.tls else {
            return Ok(Peer {
                stream: Box::new(tcp),
                certificate_ends: None,
            });
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = timeout(PATIENCE, connector.connect(name.clone(), tcp)).await;
        let stream = stream.map_err(late)?;
        let stream = stream.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificate_ends = shown.and_then(|it| it.first()).and_then(|it| {
            let certificate = Certificate::from_der(it).ok()?;
            let end = certificate.tbs_certificate.validity.not_after;
            Some(end.to_unix_duration().as_secs())
        });
        Ok(Peer {
            stream: Box::new(stream),
            certificate_ends,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted() { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn client_config(trust: Trust<'_>) -> Result<ClientConfig, TargetError> {
    let problem = |path: &Path, error: &dyn fmt::Display| {
        TargetError(format!("TLS: {}: {error}", path.display()))
    };
    let chain = |path: &Path| {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| problem(path, &error))
    };
    let mut roots = RootCertStore::empty();
    match trust.ca_file {
        Some(path) => {
            for certificate in chain(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| problem(path, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TargetError(format!("TLS: {error}")))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = trust.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| problem(key, &error))?;
    builder
        .with_client_auth_cert(chain(certificate)?, private)
        .map_err(|error| problem(key, &error))
}
