//! The one place that knows which engine stands behind which port: builds the
//! platform from its configuration, runs it, and takes it down.

mod cluster;
mod doors;
mod engines;
mod figures;
mod hot;
mod intake;
mod maintenance;
mod mirror;
mod node;
mod probes;
mod run;
mod services;
mod site;
mod stores;
mod watching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use dormouse_broker::Broker;
use dormouse_core::clock::Clock;
use dormouse_core::health::HealthRegistry;
use dormouse_core::secret::Secret;
use dormouse_core::topic::Topics;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use crate::api::live::Live;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::DataDir;
use crate::mqtt::external::{ArrivalsParts, RunningLink};
use crate::mqtt::{DeviceHooks, EnrolRequests, HooksParts, enrol_requests};
use crate::tasks::Tasks;

pub use doors::Link;
use doors::{Doors, DoorsParts, broker_config};
use engines::Engines;
use node::Node;
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
    mqtt: MqttSide,
    http: TcpListener,
    setup: Option<Secret>,
    clock: Arc<dyn Clock>,
    front: (Tasks, Deaths),
    back: (Tasks, Deaths),
}

/// Where the first death among tasks is heard.
type Deaths = mpsc::Receiver<&'static str>;

/// The broker's side of the platform, ready to run.
enum MqttSide {
    Embedded(Box<Broker>, EnrolRequests),
    External(Box<RunningLink>),
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
    /// When the folder is taken, or a file, a socket or a server cannot be
    /// used; the message names the setting.
    pub async fn build(config: Config, place: Place) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let node = Node::of(&config);
        let (front, back) = (Tasks::new(), Tasks::new());
        let http_at = place.http.unwrap_or(config.http.listen);
        let engines = Engines::open(&config, DataDir::open(&place.data)?, &node, &clock).await?;
        let engines = Arc::new(engines);
        let health = Arc::new(HealthRegistry::new(Arc::clone(&clock)));
        let topics = Topics::new(&config.mqtt.topic_root)?;
        let leases = cluster::leases(&config, &engines, &node, &clock, &back.0).await?;
        let (doors, connecting) = Doors::open(&DoorsParts {
            config: &config,
            topics: &topics,
            devices: &engines.stores.site.devices,
            health: &health,
            clock: &clock,
            tasks: &back.0,
        })
        .await?;
        let (services, loops) = Services::build(ServicesParts {
            config: &config,
            engines: &engines,
            doors: &doors,
            node: &node,
            tasks: &back.0,
            clock: Arc::clone(&clock),
        })
        .await?;
        let mqtt = match connecting {
            None => {
                let listen = place.mqtt.unwrap_or(config.mqtt.listen);
                embedded(&config, listen, &topics, &services, &clock).await?
            }
            Some(tasks) => {
                let arrivals = services.arrivals(&config, topics, &clock);
                let link = tasks.start(arrivals, leases, node.id.clone()).await?;
                MqttSide::External(Box::new(link))
            }
        };
        let http = TcpListener::bind(http_at)
            .await
            .with_context(|| format!("cannot listen on {http_at}"))
            .map_err(|error| cannot_listen("http.listen", error))?;
        let setup = services.access.open_setup().await?;
        Ok(Self {
            config,
            engines,
            health,
            services,
            loops,
            mqtt,
            http,
            setup,
            clock,
            front,
            back,
        })
    }

    /// Where HTTP listens.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn http_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.http.local_addr()?)
    }

    /// Where strips connect, `host:port`: to the embedded broker, or to the one
    /// that the configuration names.
    ///
    /// # Errors
    /// When the socket has no address.
    pub fn mqtt_addr(&self) -> anyhow::Result<String> {
        match &self.mqtt {
            MqttSide::Embedded(broker, _) => Ok(broker
                .local_addr()
                .context("the broker listens nowhere")?
                .to_string()),
            MqttSide::External(_) => {
                let url = &self.config.broker.url;
                Ok(url
                    .split_once("://")
                    .map_or(&**url, |(_, rest)| rest)
                    .to_owned())
            }
        }
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

impl Services {
    /// Where an external broker's messages go.
    fn arrivals(&self, config: &Config, topics: Topics, clock: &Arc<dyn Clock>) -> ArrivalsParts {
        ArrivalsParts {
            topics,
            registry: Arc::clone(&self.registry),
            way_in: Arc::clone(&self.way_in),
            sessions: Arc::clone(&self.presence) as _,
            unknown: config.registration.unknown,
            clock: Arc::clone(clock),
        }
    }
}

async fn embedded(
    config: &Config,
    listen: SocketAddr,
    topics: &Topics,
    services: &Services,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<MqttSide> {
    let (requests, enrol) = enrol_requests();
    let hooks = DeviceHooks::new(
        HooksParts {
            topics: topics.clone(),
            registry: Arc::clone(&services.registry),
            way_in: Arc::clone(&services.way_in),
            presence: Arc::clone(&services.presence),
            events: Arc::clone(&services.events),
        },
        Arc::clone(clock),
        requests,
    );
    let broker = Broker::bind(broker_config(&config.mqtt, listen), Arc::new(hooks))
        .await
        .map_err(|error| cannot_listen("mqtt.listen", error))?;
    if let Link::Embedded(link) = &services.link {
        link.connect(broker.handle());
    }
    Ok(MqttSide::Embedded(Box::new(broker), enrol))
}

fn cannot_listen(setting: &str, error: impl Into<anyhow::Error>) -> anyhow::Error {
    let error = error.into();
    anyhow!("{setting}: {error:#}; is the address this machine's, and nobody else's?")
}
