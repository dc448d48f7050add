//! How the broker is reached: settings, and the files they name.

use std::path::PathBuf;
use std::sync::Arc;

use dormouse_core::secret::Secret;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::problem::LinkError;

/// Which MQTT to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versions {
    /// 5, or 3.1.1 where the broker has no 5.
    #[default]
    Auto,
    /// 5 only.
    V5,
    /// 3.1.1 only.
    V311,
}

/// The settings of the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// `mqtt://host:port` or `mqtts://host:port`.
    pub url: String,
    /// Our account; empty for none.
    pub username: String,
    /// File with its password.
    pub password_file: Option<PathBuf>,
    /// File with the certificates to trust; `None` for the system's.
    pub ca_file: Option<PathBuf>,
    /// File with our certificate.
    pub certificate_file: Option<PathBuf>,
    /// File with its key.
    pub key_file: Option<PathBuf>,
    /// Our client ids are this, a hyphen and the slot's number.
    pub client_id_prefix: String,
    /// Name of the shared subscription; `None` for a plain one, which one
    /// node alone may have. Mosquitto keeps plain subscriptions over its own
    /// restart and forgets shared ones until their nodes are back.
    pub share: Option<String>,
    /// Which MQTT to speak.
    pub versions: Versions,
}

/// Where the broker is, and who we are there.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) username: String,
    pub(super) password: Option<Secret>,
    pub(super) versions: Versions,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Reads what `settings` name.
    ///
    /// # Errors
    /// Which setting cannot be used, and why.
    pub(super) fn load(settings: &LinkSettings) -> Result<Self, LinkError> {
        let (host, port, encrypted) = address(&settings.url)?;
        let tls = if encrypted {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| LinkError::setting("broker.url", "the host is no valid name"))?;
            Some((Arc::new(tls(settings)?), name))
        } else {
            let named = [
                ("broker.ca_file", &settings.ca_file),
                ("broker.certificate_file", &settings.certificate_file),
            ];
            for (key, file) in named {
                if file.is_some() {
                    return Err(LinkError::setting(
                        key,
                        "is for TLS, and broker.url is not mqtts://",
                    ));
                }
            }
            None
        };
        check_name("broker.client_id_prefix", &settings.client_id_prefix)?;
        if let Some(share) = &settings.share {
            check_name("broker.share", share)?;
        }
        Ok(Self {
            host,
            port,
            tls,
            username: settings.username.clone(),
            password: password(settings)?,
            versions: settings.versions,
        })
    }

    /// Host and port, for people.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Host, port and whether it is encrypted.
fn address(url: &str) -> Result<(String, u16, bool), LinkError> {
    // The address itself is not repeated: it may hold a password.
    let wrong = |problem: &str| LinkError::setting("broker.url", problem);
    let (rest, encrypted) = match (url.strip_prefix("mqtts://"), url.strip_prefix("mqtt://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return Err(wrong("must begin with mqtt:// or mqtts://")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err(wrong(
            "must not name an account; use broker.username and broker.password_file",
        ));
    }
    if rest.contains(['/', '?', '#']) {
        return Err(wrong("must be a host and a port, without a path"));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or_else(|| wrong("the address lacks its ']'"))?,
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port
            .parse()
            .ok()
            .filter(|it| *it != 0)
            .ok_or_else(|| wrong("the port must be a number from 1 to 65535"))?,
        None if port.is_empty() => {
            if encrypted {
                8883
            } else {
                1883
            }
        }
        None => return Err(wrong("must be a host and a port")),
    };
    if host.is_empty() {
        return Err(wrong("names no host"));
    }
    Ok((host.to_owned(), port, encrypted))
}

/// A text that becomes part of client ids and filters.
fn check_name(key: &'static str, name: &str) -> Result<(), LinkError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fine) {
        Ok(())
    } else {
        Err(LinkError::setting(
            key,
            "must be 1 to 64 letters, digits, '-', '_' or '.'",
        ))
    }
}

fn password(settings: &LinkSettings) -> Result<Option<Secret>, LinkError> {
    let key = "broker.password_file";
    let Some(file) = &settings.password_file else {
        return Ok(None);
    };
    if settings.username.is_empty() {
        return Err(LinkError::setting(key, "needs broker.username"));
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| LinkError::setting(key, format!("{}: {error}", file.display())))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        let problem = format!("{} is empty", file.display());
        return Err(LinkError::setting(key, problem));
    }
    Ok(Some(Secret::new(password)))
}

fn tls(settings: &LinkSettings) -> Result<ClientConfig, LinkError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| LinkError::setting("broker.url", error.to_string()))?
        .with_root_certificates(authorities(settings)?);
    match (&settings.certificate_file, &settings.key_file) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates("broker.certificate_file", certificate)?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                LinkError::setting("broker.key_file", format!("{}: {error}", key.display()))
            })?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| {
                    LinkError::setting(
                        "broker.key_file",
                        format!("does not go with broker.certificate_file: {error}"),
                    )
                })
        }
        (None, Some(_)) | (Some(_), None) => Err(LinkError::setting(
            "broker.key_file",
            "a certificate and its key go together: set both files or neither",
        )),
    }
}

fn authorities(settings: &LinkSettings) -> Result<RootCertStore, LinkError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &settings.ca_file {
        for certificate in certificates("broker.ca_file", file)? {
            roots.add(certificate).map_err(|error| {
                LinkError::setting("broker.ca_file", format!("{}: {error}", file.display()))
            })?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if roots.is_empty() {
        return Err(LinkError::setting(
            "broker.ca_file",
            "is not set, and this system trusts nobody: name the file with the broker's authority",
        ));
    }
    Ok(roots)
}

fn certificates(
    key: &'static str,
    file: &std::path::Path,
) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let problem = |error: &dyn std::fmt::Display| {
        LinkError::setting(key, format!("{}: {error}", file.display()))
    };
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| problem(&error))?;
    if found.is_empty() {
        return Err(problem(&"holds no certificate"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        for (url, expected) in [
            ("mqtt://broker", ("broker", 1883, false)),
            ("mqtts://broker/", ("broker", 8883, true)),
            ("mqtt://10.1.2.3:2883", ("10.1.2.3", 2883, false)),
            ("mqtts://[::1]:8884", ("::1", 8884, true)),
            ("mqtt://[::1]", ("::1", 1883, false)),
        ] {
            let (host, port, encrypted) = address(url).unwrap();
            assert_eq!((host.as_str(), port, encrypted), expected, "{url}");
        }
    }

    #[test]
    fn a_wrong_address_names_the_setting_and_repeats_no_password() {
        for url in [
            "tcp://broker",
            "mqtt://",
            "mqtt://:1883",
            "mqtt://broker:0",
            "mqtt://broker:x",
            "mqtt://broker:1883/path",
            "mqtt://me:hidden-secret@broker",
            "mqtt://[::1",
            "mqtt://[::1]1883",
        ] {
            let error = address(url).unwrap_err().to_string();
            assert!(error.starts_with("broker.url: "), "{error}");
            assert!(!error.contains("hidden-secret"), "{error}");
        }
    }
}
