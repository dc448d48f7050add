//! Which engines stand behind the platform, and how they are reached.

use serde::Deserialize;

use super::{Config, ConfigError};

/// This process among several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name in logs and on the page; empty for the host's name.
    pub name: String,
}

/// Which broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// `embedded:`, `mqtt://host:port` or `mqtts://host:port`.
    pub url: String,
    /// Our account there.
    pub username: String,
    /// File with its password.
    pub password_file: String,
    /// File with the certificates to trust; empty for the system's.
    pub ca_file: String,
    /// File with our certificate; empty for none.
    pub certificate_file: String,
    /// File with its key.
    pub key_file: String,
    /// Our client ids are this, a hyphen and the slot's number.
    pub client_id_prefix: String,
    /// Name of the shared subscription.
    pub share: String,
    /// Which MQTT to speak.
    pub version: MqttVersion,
}

/// Which MQTT to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum MqttVersion {
    /// 5, or 3.1.1 where the broker has no 5.
    #[serde(rename = "auto")]
    Auto,
    /// 5.
    #[serde(rename = "5")]
    V5,
    /// 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// Hot state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hot {
    /// `memory:`, `redis://…` or `rediss://…`.
    pub url: String,
    /// Our account there.
    pub username: String,
    /// File with its password.
    pub password_file: String,
    /// File with the certificates to trust; empty for the system's.
    pub ca_file: String,
    /// File with our certificate; empty for none.
    pub certificate_file: String,
    /// File with its key.
    pub key_file: String,
    /// Put before every key.
    pub prefix: String,
    /// Budget of the ring in memory, MiB.
    pub ring_budget_mib: u32,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `sqlite:` or `postgres://user@host:port/name?parameters`.
    pub url: String,
    /// File with the password.
    pub password_file: String,
    /// Connections at most.
    pub pool_max: u32,
    /// Seconds until a connection counts as failed.
    pub connect_timeout_s: u32,
}

/// EMQX's REST API, by which sessions of revoked devices are ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emqx {
    /// Such as `http://127.0.0.1:18083`; empty where the broker is not EMQX.
    pub api_url: String,
    /// The API key.
    pub api_key: String,
    /// File with its secret.
    pub api_secret_file: String,
    /// File with the certificates to trust; empty for the system's.
    pub ca_file: String,
}

/// Files of a Mosquitto that Dormouse keeps up to date.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mosquitto {
    /// Its password file; empty where the broker is not Mosquitto.
    pub password_file: String,
    /// Its ACL file.
    pub acl_file: String,
    /// File with its process id, to have it read them again.
    pub pid_file: String,
    /// Or a command that makes it do so.
    pub reload_command: String,
}

impl Broker {
    /// Whether it is the one in this process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.url == "embedded:"
    }
}

impl Hot {
    /// Whether it is in this process.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.url == "memory:"
    }
}

impl Database {
    /// Whether it is in the data folder.
    #[must_use]
    pub fn is_sqlite(&self) -> bool {
        self.url == "sqlite:"
    }
}

impl Config {
    /// Whether several such processes may run side by side.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !(self.broker.is_embedded() || self.hot.is_memory() || self.database.is_sqlite())
    }

    pub(super) fn check_engines(&self) -> Result<(), ConfigError> {
        known(
            "broker.url",
            &self.broker.url,
            self.broker.is_embedded(),
            &["mqtt://", "mqtts://"],
            "\"embedded:\", \"mqtt://host:1883\" or \"mqtts://host:8883\"",
        )?;
        known(
            "hot.url",
            &self.hot.url,
            self.hot.is_memory(),
            &[
                "redis://",
                "rediss://",
                "redis+cluster://",
                "rediss+cluster://",
                "redis+unix://",
            ],
            "\"memory:\", \"redis://host:6379\" or \"rediss://host:6379\"",
        )?;
        known(
            "database.url",
            &self.database.url,
            self.database.is_sqlite(),
            &["postgres://", "postgresql://"],
            "\"sqlite:\" or \"postgres://user@host:5432/dormouse\"",
        )?;
        self.check_what_goes_together()?;
        if !(2..=1_000).contains(&self.database.pool_max) {
            return Err(ConfigError::key("database.pool_max", "must be 2 to 1000"));
        }
        if !(1..=600).contains(&self.database.connect_timeout_s) {
            return Err(ConfigError::key(
                "database.connect_timeout_s",
                "must be 1 to 600",
            ));
        }
        Ok(())
    }

    fn check_what_goes_together(&self) -> Result<(), ConfigError> {
        for (section, certificate, key) in [
            (
                "broker",
                &self.broker.certificate_file,
                &self.broker.key_file,
            ),
            ("hot", &self.hot.certificate_file, &self.hot.key_file),
        ] {
            if certificate.is_empty() != key.is_empty() {
                return Err(ConfigError::key(
                    &format!("{section}.key_file"),
                    "a certificate and its key go together: set both files or neither",
                ));
            }
        }
        let emqx = &self.emqx;
        if !emqx.api_url.is_empty() && (emqx.api_key.is_empty() || emqx.api_secret_file.is_empty())
        {
            return Err(ConfigError::key(
                "emqx.api_key",
                "emqx.api_url needs emqx.api_key and emqx.api_secret_file",
            ));
        }
        let mosquitto = &self.mosquitto;
        if !mosquitto.password_file.is_empty()
            && mosquitto.pid_file.is_empty() == mosquitto.reload_command.is_empty()
        {
            return Err(ConfigError::key(
                "mosquitto.pid_file",
                "mosquitto.password_file needs one of mosquitto.pid_file and mosquitto.reload_command",
            ));
        }
        Ok(())
    }
}

/// The value itself is not repeated: it may hold a password.
fn known(
    key: &str,
    url: &str,
    is_own: bool,
    schemes: &[&str],
    expected: &str,
) -> Result<(), ConfigError> {
    if is_own || schemes.iter().any(|it| url.starts_with(it)) {
        return Ok(());
    }
    let scheme = url.split(':').next().unwrap_or_default();
    Err(ConfigError::key(
        key,
        format!("{scheme:?} is no engine known here; must be {expected}"),
    ))
}
