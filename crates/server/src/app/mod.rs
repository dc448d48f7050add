//! The one place that knows which engine stands behind which port: builds the
//! platform from its configuration, runs it, and takes it down.

mod engines;
mod figures;
mod probes;
mod run;
mod services;
mod site;
mod stores;
mod watching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use dormouse_broker::{Broker, Limits};
use dormouse_core::clock::Clock;
use dormouse_core::health::HealthRegistry;
use dormouse_core::secret::Secret;
use dormouse_core::topic::Topics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use crate::api::live::Live;
use crate::clock::SystemClock;
use crate::config::{Config, Mqtt};
use crate::datadir::DataDir;
use crate::mqtt::{BrokerLink, DeviceHooks, EnrolRequests, HooksParts, enrol_requests};

use engines::Engines;
pub use services::Services;
use services::{Loops, ServicesParts};
use site::Site;
pub(crate) use stores::SiteStores;

/// Where to run, besides what the configuration says.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The data folder.
    pub data: PathBuf,
    /// Where HTTP listens, if not where the configuration says.
    pub http: Option<SocketAddr>,
    /// Where MQTT listens, if not where the configuration says.
    pub mqtt: Option<SocketAddr>,
}

/// A platform that holds its sockets but does not serve yet.
pub struct App {
    config: Config,
    engines: Arc<Engines>,
    health: Arc<HealthRegistry>,
    services: Services,
    loops: Loops,
    broker: Broker,
    enrol: EnrolRequests,
    http: TcpListener,
    setup: Option<Secret>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Opens everything that `config` names.
    ///
    /// # Errors
    /// When the folder is taken, or a file or a socket cannot be opened; the
    /// message names the setting.
    pub async fn build(config: Config, place: Place) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let http_at = place.http.unwrap_or(config.http.listen);
        let mqtt_at = place.mqtt.unwrap_or(config.mqtt.listen);
        let engines = Engines::open(&config, DataDir::open(&place.data)?).await?;
        let engines = Arc::new(engines);
        let health = Arc::new(HealthRegistry::new(Arc::clone(&clock)));
        let topics = Topics::new(&config.mqtt.topic_root)?;
        let link = Arc::new(BrokerLink::new(topics.clone()));
        let (services, loops) = Services::build(ServicesParts {
            config: &config,
            engines: &engines,
            link: Arc::clone(&link),
            clock: Arc::clone(&clock),
        })
        .await?;
        let (requests, enrol) = enrol_requests();
        let hooks = DeviceHooks::new(
            HooksParts {
                topics,
                registry: Arc::clone(&services.registry),
                ingest: Arc::clone(&services.ingest),
                presence: Arc::clone(&services.presence),
                events: Arc::clone(&services.events),
            },
            Arc::clone(&clock),
            requests,
        );
        let broker = Broker::bind(broker_config(&config.mqtt, mqtt_at), Arc::new(hooks))
            .await
            .with_context(|| format!("mqtt.listen: cannot listen on {mqtt_at}"))?;
        link.connect(broker.handle());
        let http = TcpListener::bind(http_at)
            .await
            .with_context(|| format!("http.listen: cannot listen on {http_at}"))?;
        let setup = services.access.open_setup().await?;
        Ok(Self {
            config,
            engines,
            health,
            services,
            loops,
            broker,
            enrol,
            http,
            setup,
            clock,
        })
    }

    /// Where HTTP listens.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn http_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.http.local_addr()?)
    }

    /// Where MQTT listens.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn mqtt_addr(&self) -> anyhow::Result<SocketAddr> {
        self.broker
            .local_addr()
            .context("the broker listens nowhere")
    }

    /// The path of the one-time link that creates the administrator, where
    /// nobody can sign in yet.
    #[must_use]
    pub fn setup_path(&self) -> Option<String> {
        let secret = self.setup.as_ref()?;
        Some(format!("/setup?token={}", secret.expose()))
    }

    /// The API's document.
    #[must_use]
    pub fn document(&self) -> OpenApi {
        self.site(CancellationToken::new()).api().1
    }

    /// The HTTP site, whose live connections end when `stop` fires.
    fn site(&self, stop: CancellationToken) -> Site<'_> {
        let Services {
            access,
            fleet,
            live: hub,
            ..
        } = &self.services;
        let gate = Arc::clone(access) as _;
        Site {
            config: &self.config,
            services: &self.services,
            engines: &self.engines,
            health: &self.health,
            live: Live::new(Arc::clone(hub), Arc::clone(fleet), gate, stop),
            clock: &self.clock,
        }
    }

    /// The services, for whoever runs in the same process.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }
}

fn broker_config(settings: &Mqtt, listen: SocketAddr) -> dormouse_broker::Config {
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    dormouse_broker::Config {
        limits: Limits {
            connections: count(settings.connections_max),
            connections_per_ip: count(settings.connections_per_address_max),
            connects_per_s: settings.connects_per_second_max,
            ..Limits::default()
        },
        ..dormouse_broker::Config::new(listen)
    }
}
