//! What to run: built-in defaults, then a file, then the environment, then
//! flags. Parsed and checked before anything is opened.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dormouse_core::presence::OfflineAfter;
use dormouse_core::services::registry::JoinMode;
use dormouse_core::topic::Topics;
use serde::Deserialize;
use toml::{Table, Value};

/// The documented defaults; `dormouse config` prints this.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

const ENV_PREFIX: &str = "DORMOUSE__";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The building.
    pub site: Site,
    /// The page and the API.
    pub http: Http,
    /// The embedded broker.
    pub mqtt: Mqtt,
    /// Which broker.
    pub broker: Engine,
    /// Which hot state.
    pub hot: Hot,
    /// Which database.
    pub database: Engine,
    /// The file in front of the database.
    pub journal: Journal,
    /// How unknown devices come in.
    pub registration: Registration,
    /// Who counts as there.
    pub presence: Presence,
    /// How long what is kept.
    pub retention: Retention,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// What is logged and how.
    pub log: Log,
}

/// The building.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Shown on the page.
    pub name: String,
    /// IANA time zone.
    pub time_zone: String,
}

/// The page and the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether a proxy in front speaks HTTPS.
    pub behind_tls: bool,
}

/// The embedded broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Where to listen.
    pub listen: SocketAddr,
    /// First level or levels of every topic.
    pub topic_root: String,
    /// Connections at once.
    pub connections_max: u32,
    /// Connections at once from one address.
    pub connections_per_address_max: u32,
    /// New connections per second.
    pub connects_per_second_max: u32,
}

/// An engine chosen by a URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Which one.
    pub url: String,
}

/// Hot state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hot {
    /// Which engine.
    pub url: String,
    /// Budget of the ring, MiB.
    pub ring_budget_mib: u32,
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Preallocated size, MiB.
    pub size_mib: u32,
}

/// How unknown devices come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// What the join key is worth.
    pub mode: JoinMode,
    /// Devices that may wait in the inbox.
    pub pending_max: u32,
}

/// Who counts as there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Presence {
    /// How long a silence makes a device offline.
    pub offline_after: OfflineAfter,
}

/// How long what is kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Raw samples.
    pub raw_days: u32,
    /// Minute rollups.
    pub minute_days: u32,
    /// Events.
    pub event_days: u32,
    /// Commands.
    pub command_days: u32,
    /// The audit log.
    pub audit_days: u32,
    /// GiB for the history database; 0 for no budget.
    pub history_budget_gib: u32,
}

/// What `/metrics` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Devices with figures of their own; 0 for none.
    pub fleet_devices_max: u32,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// For people or machines.
    pub format: LogFormat,
    /// Levels per module.
    pub filter: String,
}

/// For people or machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not valid TOML: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: toml::de::Error,
    },
    /// An unknown key or a value of the wrong kind.
    #[error("configuration: {key}: {rule}; `dormouse config` lists every key")]
    Key {
        /// The key, as in `mqtt.listen`.
        key: String,
        /// What is wrong.
        rule: String,
    },
}

impl Config {
    /// Loads the defaults, `file` where given, and the variables of `env` that
    /// start with `DORMOUSE__`.
    ///
    /// # Errors
    /// When a source cannot be read, or names or values are wrong.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: Table =
            toml::from_str(DEFAULT_TOML).map_err(|source| ConfigError::Syntax {
                path: "the built-in defaults".into(),
                source,
            })?;
        if let Some(path) = file {
            merge(&mut table, read(path)?, "")?;
        }
        for (name, text) in env {
            if let Some(key) = name.strip_prefix(ENV_PREFIX) {
                set(&mut table, &name, key, text)?;
            }
        }
        let config: Self =
            serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
                ConfigError::Key {
                    key: error.path().to_string(),
                    rule: error.inner().message().to_owned(),
                }
            })?;
        config.check()?;
        Ok(config)
    }

    /// Rules that types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let broken = |key: &str, rule: String| {
            Err(ConfigError::Key {
                key: key.to_owned(),
                rule,
            })
        };
        for (key, found, known) in [
            ("broker.url", &self.broker.url, "embedded:"),
            ("hot.url", &self.hot.url, "memory:"),
            ("database.url", &self.database.url, "sqlite:"),
        ] {
            if found != known {
                return broken(key, format!("{found:?} is not known here, only {known:?}"));
            }
        }
        if let Err(error) = Topics::new(&self.mqtt.topic_root) {
            return broken("mqtt.topic_root", error.to_string());
        }
        if jiff::tz::TimeZone::get(&self.site.time_zone).is_err() {
            return broken(
                "site.time_zone",
                format!(
                    "{:?} is no IANA time zone such as \"Asia/Shanghai\"",
                    self.site.time_zone
                ),
            );
        }
        if !(1..=16_384).contains(&self.journal.size_mib) {
            return broken("journal.size_mib", "must be 1 to 16384".to_owned());
        }
        for (key, days) in [
            ("retention.raw_days", self.retention.raw_days),
            ("retention.minute_days", self.retention.minute_days),
            ("retention.event_days", self.retention.event_days),
            ("retention.command_days", self.retention.command_days),
            ("retention.audit_days", self.retention.audit_days),
        ] {
            if days == 0 {
                return broken(key, "must be at least 1".to_owned());
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source,
    })
}

fn merge(into: &mut Table, from: Table, parent: &str) -> Result<(), ConfigError> {
    for (name, value) in from {
        let key = if parent.is_empty() {
            name.clone()
        } else {
            format!("{parent}.{name}")
        };
        match (into.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value, &key)?,
            (Some(slot), value) => *slot = value,
            (None, _) => {
                return Err(ConfigError::Key {
                    key,
                    rule: "unknown key".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Sets `SECTION__KEY` to `text`, read as the kind of value the default has.
fn set(table: &mut Table, variable: &str, key: &str, text: String) -> Result<(), ConfigError> {
    let broken = |rule: &str| ConfigError::Key {
        key: variable.to_owned(),
        rule: rule.to_owned(),
    };
    let lower = key.to_ascii_lowercase();
    let (section, name) = lower
        .split_once("__")
        .ok_or_else(|| broken("must read DORMOUSE__SECTION__KEY"))?;
    let slot = table
        .get_mut(section)
        .and_then(|section| section.get_mut(name))
        .ok_or_else(|| broken("unknown key"))?;
    *slot = if slot.is_str() {
        Value::String(text)
    } else {
        text.parse()
            .map_err(|_| broken("not a number, true or false"))?
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dormouse.toml");
        std::fs::write(&path, file).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load(Some(&path), env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_goes_before_the_file_and_the_file_before_the_defaults() {
        let config = load(
            "[http]\nlisten = \"127.0.0.1:1\"\nbehind_tls = true\n",
            &[("DORMOUSE__HTTP__LISTEN", "127.0.0.1:2"), ("HOME", "/x")],
        )
        .unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert!(config.http.behind_tls);
        assert_eq!(config.retention.raw_days, 90);
    }

    #[test]
    fn a_typo_names_the_key() {
        for (file, env, expected) in [
            ("[http]\nlissen = 1\n", None, "http.lissen: unknown key"),
            ("[htp]\n", None, "htp: unknown key"),
            (
                "[presence]\noffline_after = \"soon\"\n",
                None,
                "presence.offline_after: ",
            ),
            ("[http]\nlisten = 5\n", None, "http.listen: "),
            (
                "[registration]\nmode = \"ajar\"\n",
                None,
                "registration.mode: unknown variant",
            ),
            (
                "[site]\ntime_zone = \"Mars/Base\"\n",
                None,
                "site.time_zone: ",
            ),
            ("[broker]\nurl = \"mqtt://h\"\n", None, "broker.url: "),
            (
                "",
                Some(("DORMOUSE__HTTP__LISSEN", "x")),
                "DORMOUSE__HTTP__LISSEN: unknown key",
            ),
            (
                "",
                Some(("DORMOUSE__JOURNAL__SIZE_MIB", "x")),
                "DORMOUSE__JOURNAL__SIZE_MIB: not a number",
            ),
        ] {
            let env: Vec<_> = env.into_iter().collect();
            let error = load(file, &env).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
