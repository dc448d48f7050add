//! The way to devices, whichever broker it leads over.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use dormouse_broker::Limits;
use dormouse_core::clock::Clock;
use dormouse_core::health::{HealthRegistry, Serves};
use dormouse_core::ports::{CommandSink, DeviceStore, DeviceWatcher, EnrolSink, SessionControl};
use dormouse_core::topic::Topics;

use crate::brokers::emqx::{ApiSettings, EmqxApi, EmqxSessions};
use crate::brokers::mosquitto::{FilesSettings, MosquittoFiles, Reload};
use crate::config::{Config, Mqtt, MqttVersion};
use crate::mqtt::BrokerLink;
use crate::mqtt::external::{
    self, ExternalLink, LinkSettings, LinkState, LinkTasks, NoRevocation, Versions,
};
use crate::tasks::Tasks;

/// What doors are made of.
pub(super) struct DoorsParts<'a> {
    pub(super) config: &'a Config,
    pub(super) topics: &'a Topics,
    pub(super) devices: &'a Arc<dyn DeviceStore>,
    pub(super) health: &'a Arc<HealthRegistry>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) tasks: &'a Tasks,
}

/// The services' side of the way to devices.
pub(super) struct Doors {
    pub(super) commands: Arc<dyn CommandSink>,
    pub(super) sessions: Arc<dyn SessionControl>,
    pub(super) enrol: Arc<dyn EnrolSink>,
    /// Who must hear of changes to devices.
    pub(super) watchers: Vec<Arc<dyn DeviceWatcher>>,
    pub(super) link: Link,
}

/// The broker's side of it.
#[derive(Debug, Clone)]
pub enum Link {
    /// The broker in this process.
    Embedded(Arc<BrokerLink>),
    /// A broker outside.
    External(Arc<ExternalLink>),
}

impl Link {
    /// Its engine in `/health`.
    pub(super) const fn engine(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::External(_) => "mqtt",
        }
    }

    /// Whether messages can come in; else why not.
    pub(super) fn check(&self) -> Result<(), String> {
        match self {
            Self::Embedded(_) => Ok(()),
            Self::External(link) => match link.state() {
                LinkState::Up { .. } => Ok(()),
                LinkState::Down { reason, .. } => Err(reason),
            },
        }
    }
}

impl Doors {
    /// The doors that `config` names, and what connects those to an external
    /// broker once everything that takes messages is there.
    pub(super) async fn open(parts: &DoorsParts<'_>) -> anyhow::Result<(Self, Option<LinkTasks>)> {
        let DoorsParts {
            config,
            topics,
            clock,
            ..
        } = parts;
        if config.broker.is_embedded() {
            let link = Arc::new(BrokerLink::new((*topics).clone()));
            let doors = Self {
                commands: Arc::clone(&link) as _,
                sessions: Arc::clone(&link) as _,
                enrol: Arc::clone(&link) as _,
                watchers: Vec::new(),
                link: Link::Embedded(link),
            };
            return Ok((doors, None));
        }
        let (link, connecting) =
            external::prepare(link_settings(config), (*topics).clone(), Arc::clone(clock))?;
        let mut doors = Self {
            commands: Arc::clone(&link) as _,
            sessions: Arc::new(NoRevocation),
            enrol: Arc::clone(&link) as _,
            watchers: Vec::new(),
            link: Link::External(link),
        };
        doors.tell(parts).await?;
        Ok((doors, Some(connecting)))
    }

    /// Has the broker told of devices that may no longer come in.
    async fn tell(&mut self, parts: &DoorsParts<'_>) -> anyhow::Result<()> {
        let DoorsParts {
            config,
            topics,
            devices,
            health,
            tasks,
            ..
        } = parts;
        if let Some(settings) = api_settings(config) {
            let health = health.add("emqx", "emqx", Serves::Other, false);
            let api = EmqxApi::new(&settings)?;
            api.check().await?;
            let (sessions, worker) = EmqxSessions::new(api, (*topics).clone(), health);
            self.sessions = Arc::clone(&sessions) as _;
            self.watchers.push(sessions);
            tasks.spawn("emqx", worker.run(tasks.stopping()));
            return Ok(());
        }
        let Some(settings) = files_settings(config) else {
            return Ok(());
        };
        let health = health.add("mosquitto", "mosquitto", Serves::Other, false);
        let (files, worker) =
            MosquittoFiles::new(settings, (*topics).clone(), Arc::clone(devices), health);
        self.sessions = Arc::clone(&files) as _;
        self.watchers.push(files);
        tasks.spawn("mosquitto", worker.run(tasks.stopping()));
        Ok(())
    }
}

fn link_settings(config: &Config) -> LinkSettings {
    let broker = &config.broker;
    LinkSettings {
        url: broker.url.clone(),
        username: broker.username.clone(),
        password_file: file(&broker.password_file),
        ca_file: file(&broker.ca_file),
        certificate_file: file(&broker.certificate_file),
        key_file: file(&broker.key_file),
        client_id_prefix: broker.client_id_prefix.clone(),
        // A subscription of one's own outlives a restart of Mosquitto.
        share: config.is_shared().then(|| broker.share.clone()),
        versions: match broker.version {
            MqttVersion::Auto => Versions::Auto,
            MqttVersion::V5 => Versions::V5,
            MqttVersion::V311 => Versions::V311,
        },
    }
}

fn api_settings(config: &Config) -> Option<ApiSettings> {
    let emqx = &config.emqx;
    Some(ApiSettings {
        url: file(&emqx.api_url).map(|_| emqx.api_url.clone())?,
        key: emqx.api_key.clone(),
        secret_file: PathBuf::from(&emqx.api_secret_file),
        ca_file: file(&emqx.ca_file),
    })
}

fn files_settings(config: &Config) -> Option<FilesSettings> {
    let mosquitto = &config.mosquitto;
    Some(FilesSettings {
        password_file: file(&mosquitto.password_file)?,
        acl_file: file(&mosquitto.acl_file),
        reload: match file(&mosquitto.pid_file) {
            Some(path) => Reload::PidFile(path),
            None => Reload::Command(mosquitto.reload_command.clone()),
        },
    })
}

fn file(path: &str) -> Option<PathBuf> {
    (!path.is_empty()).then(|| PathBuf::from(path))
}

/// The embedded broker's own settings.
pub(super) fn broker_config(settings: &Mqtt, listen: SocketAddr) -> dormouse_broker::Config {
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let connections = count(settings.connections_max);
    dormouse_broker::Config {
        limits: Limits {
            connections,
            // Those connected, and half as many that are away for a while.
            sessions: connections.saturating_add(connections / 2),
            connections_per_ip: count(settings.connections_per_address_max),
            connects_per_s: settings.connects_per_second_max,
            ..Limits::default()
        },
        ..dormouse_broker::Config::new(listen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_connection_may_have_a_session() {
        let mut settings = Config::load(None, []).unwrap().mqtt;
        settings.connections_max = 50_000;
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = broker_config(&settings, listen).limits;
        assert_eq!((limits.connections, limits.sessions), (50_000, 75_000));
    }
}
