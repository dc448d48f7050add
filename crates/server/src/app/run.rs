//! The life of the process between ready and closed.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::serve::ListenerExt;
use dormouse_broker::Broker;
use dormouse_core::clock::Clock;
use dormouse_core::health::{HealthRegistry, Serves};
use dormouse_core::services::dispatcher::DispatchLoop;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use super::intake::IntakeWork;
use super::maintenance::maintain;
use super::node::reachable_at;
use super::probes::{Parts, probe};
use super::{App, MqttSide, Services};
use crate::config::Config;
use crate::journal::{self, FileJournal};
use crate::mqtt::external::RunningLink;
use crate::mqtt::hand_over_credentials;
use crate::tasks::Tasks;
use crate::upkeep;

/// How long each half of a stop may take: first those who take in, then
/// those who store.
const GRACE: Duration = Duration::from_secs(10);
/// How often what others changed in the database is taken over, and what
/// devices reported is stored.
const SYNC: Duration = Duration::from_secs(1);
/// How often the ring forgets what is too old.
const SWEEP: Duration = Duration::from_secs(30);
/// How often what is past its keeping is dropped.
const PRUNE: Duration = Duration::from_secs(3_600);

impl App {
    /// Serves until `shutdown` completes or a task dies, then drains.
    ///
    /// # Errors
    /// When a task ended that should not have.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let parts = Parts::register(&self.health, &self.engines.stores, &self.services);
        parts.probe(&self.engines, &self.services).await;
        let site = self.site(self.front.0.stopping());
        let (live, router) = (site.live.clone(), site.router()?);
        let Self {
            config,
            engines,
            health,
            services,
            loops,
            mqtt,
            http,
            clock,
            setup: _,
            front: (front, mut front_deaths),
            back: (back, mut back_deaths),
        } = self;

        if let Some(nodes) = &services.nodes {
            nodes.serve_at(reachable_at(http.local_addr()?).to_string());
        }
        front.spawn("live", live.run());
        front.spawn("http", serve(http, router, front.stopping()));
        serve_devices(mqtt, &services, &front);
        health.set_running(true);
        let probing = probe(
            parts,
            Arc::clone(&engines),
            services.clone(),
            back.stopping(),
        );
        back.spawn("health", probing);
        let turning = commands(loops.dispatch, Arc::clone(&clock), back.stopping());
        back.spawn("commands", turning);
        engines.spawn(&services, &health, &clock, &back);
        services.spawn(&back, &config, &clock);
        services.spawn_nodes(&back);

        let died = tokio::select! {
            () = shutdown => None,
            name = front_deaths.recv() => name,
            name = back_deaths.recv() => name,
        };
        health.set_running(false);
        tracing::info!("stopping");
        services.dispatcher.let_go();
        front.finish(GRACE).await;
        back.finish(GRACE).await;
        services.flush().await;
        engines.close().await;
        match died {
            None => Ok(()),
            Some(name) => bail!("{name} stopped unexpectedly"),
        }
    }
}

fn serve_devices(mqtt: MqttSide, services: &Services, front: &Tasks) {
    match mqtt {
        MqttSide::Embedded(broker, enrol) => {
            front.spawn("mqtt", serve_mqtt(*broker, front.stopping()));
            let registry = Arc::clone(&services.registry);
            let hand_over = hand_over_credentials(registry, enrol, front.stopping());
            front.spawn("enrolment", hand_over);
        }
        MqttSide::External(link) => front.spawn("mqtt", follow(*link, front.stopping())),
    }
}

impl Engines {
    /// Starts what works between the engines.
    fn spawn(
        &self,
        services: &Services,
        health: &Arc<HealthRegistry>,
        clock: &Arc<dyn Clock>,
        back: &Tasks,
    ) {
        let writer = Arc::clone(&self.journal);
        back.spawn("journal", outlive(writer, back.stopping()));
        match services.intake.clone() {
            IntakeWork::Drain(drain) => {
                back.spawn("drain", journal::drain(drain, back.stopping()));
            }
            IntakeWork::Commit(committer) => {
                back.spawn("intake", upkeep::intake(committer, back.stopping()));
            }
        }
        if let Some(shared) = &self.stores.shared {
            let part = health.add("maintenance", "postgresql", Serves::Other, false);
            let history = Arc::clone(&shared.history);
            let (duty, clock) = (services.duty(), Arc::clone(clock));
            let work = maintain(history, duty, part, clock, back.stopping());
            back.spawn("maintenance", work);
        }
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // Answers are small and whole: waiting to fill a packet only adds delay.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("serving http")
}

/// Ends in an error where the journal's writer ends before `stop`: nothing
/// would be acknowledged any more.
async fn outlive(journal: Arc<FileJournal>, stop: CancellationToken) -> anyhow::Result<()> {
    let ended = stop.run_until_cancelled(journal.ended()).await;
    ensure!(ended.is_none(), "the journal's writer ended");
    Ok(())
}

async fn serve_mqtt(broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    broker.run(stop).await.context("serving mqtt")
}

async fn follow(link: RunningLink, stop: CancellationToken) -> anyhow::Result<()> {
    link.run(stop).await;
    Ok(())
}

async fn commands(
    turning: DispatchLoop,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    upkeep::commands(turning, clock, stop).await;
    Ok(())
}

impl Services {
    /// Whether this node does what one node does for all.
    fn duty(&self) -> upkeep::Duty {
        match &self.nodes {
            Some(nodes) => upkeep::Duty::under(Arc::clone(nodes.upkeep())),
            None => upkeep::Duty::default(),
        }
    }

    /// Starts the loops of a node among others.
    fn spawn_nodes(&self, tasks: &Tasks) {
        if let Some(nodes) = &self.nodes {
            let loops = upkeep::NodeLoops {
                nodes: Arc::clone(nodes),
                presence: Arc::clone(&self.presence),
                dispatcher: Arc::clone(&self.dispatcher),
                registry: Arc::clone(&self.registry),
            };
            loops.spawn(tasks);
        }
        if let Some(shared) = &self.hot.shared {
            let emptied = shared.redis.emptied();
            let dispatcher = Arc::clone(&self.dispatcher);
            let refill = upkeep::refill_index(dispatcher, emptied, tasks.stopping());
            tasks.spawn("commands: index", refill);
        }
    }

    /// Starts the loops that drive the services.
    fn spawn(&self, tasks: &Tasks, config: &Config, clock: &Arc<dyn Clock>) {
        tasks.spawn(
            "presence",
            upkeep::presence(
                Arc::clone(&self.presence),
                Arc::clone(clock),
                tasks.stopping(),
            ),
        );
        tasks.spawn(
            "incidents",
            upkeep::incidents(
                Arc::clone(&self.incidents),
                Arc::clone(&self.presence),
                Arc::clone(clock),
                tasks.stopping(),
            ),
        );
        tasks.spawn(
            "events",
            upkeep::events(Arc::clone(&self.events), tasks.stopping()),
        );
        tasks.spawn(
            "audit",
            upkeep::audit(Arc::clone(&self.audit), tasks.stopping()),
        );
        let registry = Arc::clone(&self.registry);
        tasks.spawn(
            "registry",
            upkeep::every("devices", SYNC, tasks.stopping(), move || {
                let registry = Arc::clone(&registry);
                async move {
                    registry.refresh().await?;
                    registry.flush().await
                }
            }),
        );
        let (hot, now) = (Arc::clone(&self.hot.state), Arc::clone(clock));
        tasks.spawn(
            "ring",
            upkeep::every("ring", SWEEP, tasks.stopping(), move || {
                hot.sweep(now.now());
                std::future::ready(Ok(()))
            }),
        );
        let duty = self.duty();
        let retention = Arc::clone(&self.retention);
        tasks.spawn(
            "retention",
            upkeep::retention(retention, duty.clone(), tasks.stopping()),
        );
        let statistics = Arc::clone(&self.statistics);
        tasks.spawn(
            "periods",
            upkeep::periods(statistics, duty.clone(), tasks.stopping()),
        );
        self.spawn_pruning(tasks, config, duty);
    }

    fn spawn_pruning(&self, tasks: &Tasks, config: &Config, duty: upkeep::Duty) {
        let keep = config.retention;
        let services = self.clone();
        tasks.spawn(
            "pruning",
            upkeep::every("pruning", PRUNE, tasks.stopping(), move || {
                let (services, duty) = (services.clone(), duty.clone());
                async move {
                    if !duty.is_ours() {
                        return Ok(());
                    }
                    let day = Duration::from_secs(86_400);
                    services.events.prune(keep.event_days).await?;
                    services.incidents.prune(keep.event_days).await?;
                    services.audit.prune(day * keep.audit_days).await?;
                    services.access.prune().await?;
                    let keep_commands = day * keep.command_days;
                    services.dispatcher.forget_older_than(keep_commands).await?;
                    Ok(())
                }
            }),
        );
    }

    /// Stores what still waits; what cannot be stored is said.
    async fn flush(&self) {
        let outcomes = [
            ("devices", self.registry.flush().await),
            ("events", self.events.flush().await.map(drop)),
            ("audit", self.audit.flush().await),
        ];
        for (what, outcome) in outcomes {
            if let Err(error) = outcome {
                let error = &error as &dyn std::error::Error;
                tracing::error!(what, error, "not stored before the stop");
            }
        }
    }
}
