//! Where Redis is and how to sign in: the settings as given, read and judged.

use std::path::{Path, PathBuf};

use dormouse_core::secret::Secret;
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates,
};

use super::OpenError;
use super::address::parse;

/// How to reach Redis.
#[derive(Debug, Clone, Default)]
pub struct RedisSettings {
    /// `redis://host`, `rediss://host:port/database`, for a Cluster
    /// `redis+cluster://host1,host2` or `?cluster=true`, for a socket
    /// `redis+unix:///path`.
    pub url: String,
    /// The ACL user; `default` where none is given.
    pub username: Option<String>,
    /// The file whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// The authorities that vouch for the server, PEM; the system's where none
    /// is given.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM, where the server asks for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// What the name of every key and channel begins with.
    pub prefix: String,
}

/// The settings, read.
#[derive(Clone, Default)]
pub(super) struct Target {
    pub(super) hosts: Vec<ConnectionAddr>,
    pub(super) cluster: bool,
    pub(super) database: i64,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) certificates: Option<TlsCertificates>,
}

impl RedisSettings {
    pub(super) fn read(&self) -> Result<Target, OpenError> {
        let mut target = parse(&self.url)?;
        if self.username.is_some() {
            target.username.clone_from(&self.username);
        }
        if let Some(path) = &self.password_file {
            let text = String::from_utf8(file("password_file", path)?)
                .map_err(|_| wrong("password_file", "is not text"))?;
            let line = text.lines().next().unwrap_or_default();
            if line.is_empty() {
                return Err(wrong("password_file", "is empty"));
            }
            target.password = Some(Secret::new(line));
        }
        let client_tls = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some(ClientTlsConfig {
                client_cert: file("certificate_file", certificate)?,
                client_key: file("key_file", key)?,
            }),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("key_file", "is missing beside certificate_file")),
            (None, Some(_)) => return Err(wrong("certificate_file", "is missing beside key_file")),
        };
        let ca = self.ca_file.as_deref().map(|path| file("ca_file", path));
        let root_cert = ca.transpose()?;
        let tls = target.certificates.is_some();
        if !tls && (client_tls.is_some() || root_cert.is_some()) {
            return Err(wrong(
                "url",
                "must begin with rediss:// where certificates are given",
            ));
        }
        target.certificates = tls.then_some(TlsCertificates {
            client_tls,
            root_cert,
        });
        Ok(target)
    }
}

impl Target {
    /// Where it is, for people: without user and password.
    pub(super) fn name(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(ToString::to_string).collect();
        hosts.join(",")
    }

    /// How to connect to the host at `address`.
    pub(super) fn info(&self, address: &ConnectionAddr) -> redis::RedisResult<ConnectionInfo> {
        let mut login = RedisConnectionInfo::default()
            .set_db(self.database)
            .set_protocol(redis::ProtocolVersion::RESP3);
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.expose());
        }
        let info = address.clone().into_connection_info()?;
        Ok(info.set_redis_settings(login))
    }
}

pub(super) fn wrong(setting: &str, problem: impl Into<String>) -> OpenError {
    OpenError {
        setting: format!("hot.{setting}"),
        problem: problem.into(),
    }
}

fn file(setting: &str, path: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(path)
        .map_err(|error| wrong(setting, format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_the_address_must_fit() {
        let missing = RedisSettings {
            url: "redis://h".to_owned(),
            password_file: Some("/nowhere/password".into()),
            ..RedisSettings::default()
        };
        let error = missing.read().err().unwrap().to_string();
        assert!(error.contains("hot.password_file") && error.contains("/nowhere"));
        let plain = RedisSettings {
            url: "redis://h".to_owned(),
            ca_file: Some("/dev/null".into()),
            ..RedisSettings::default()
        };
        assert!(
            plain
                .read()
                .err()
                .unwrap()
                .to_string()
                .contains("rediss://")
        );
    }
}
