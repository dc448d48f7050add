//! What to run: built-in defaults, then a file, then the environment, then
//! flags. Parsed and checked before anything is opened.

mod engines;
mod load;
mod sections;

use dormouse_core::topic::Topics;
use serde::Deserialize;

pub use engines::{Broker, Database, Emqx, Hot, Mosquitto, MqttVersion, Node};
pub use load::ConfigError;
pub use sections::{
    Http, Journal, Log, LogFormat, Metrics, Mqtt, Presence, Registration, Retention, Site,
    listen_address,
};

/// The documented defaults; `dormouse config` prints this.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

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
    /// This process among several.
    pub node: Node,
    /// Which broker.
    pub broker: Broker,
    /// Which hot state.
    pub hot: Hot,
    /// Which database.
    pub database: Database,
    /// EMQX's REST API.
    pub emqx: Emqx,
    /// Mosquitto's files.
    pub mosquitto: Mosquitto,
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

impl Config {
    /// Rules that types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let broken = |key: &str, rule: String| Err(ConfigError::key(key, rule));
        self.check_engines()?;
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
        if self.retention.minute_days < self.retention.raw_days {
            return broken(
                "retention.minute_days",
                format!(
                    "must be at least retention.raw_days ({}), since they are made of raw samples",
                    self.retention.raw_days
                ),
            );
        }
        Ok(())
    }
}
