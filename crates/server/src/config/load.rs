//! Reads settings: defaults, file, environment.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, DEFAULT_TOML};

const ENV_PREFIX: &str = "DORMOUSE__";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("--config: cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("--config: {path} is not valid TOML")]
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

impl ConfigError {
    pub(super) fn key(key: &str, rule: impl Into<String>) -> Self {
        Self::Key {
            key: key.to_owned(),
            rule: rule.into(),
        }
    }
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
                "[mqtt]\nlisten = \"localhost:1883\"\n",
                None,
                "mqtt.listen: must be an IP address and a port",
            ),
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
            ("[broker]\nurl = \"amqp://h\"\n", None, "broker.url: "),
            (
                "[retention]\nraw_days = 400\n",
                None,
                "retention.minute_days: ",
            ),
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
