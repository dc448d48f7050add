//! The whole HTTP site: the API's modules, their document, and the page.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::any;
use dormouse_core::clock::Clock;
use dormouse_core::health::HealthRegistry;
use dormouse_core::services::nodes::Nodes;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::engines::Engines;
use super::figures;
use super::services::Services;
use crate::api::auth::Auth;
use crate::api::devices::Devices;
use crate::api::health::Vitals;
use crate::api::limits::ReadLimit;
use crate::api::live::Live;
use crate::api::metrics::{self, Metrics};
use crate::api::session::SessionState;
use crate::api::share::share;
use crate::api::telemetry::Telemetry;
use crate::api::{self, layers, openapi};
use crate::config::Config;

/// What the site is made of.
pub(super) struct Site<'a> {
    pub(super) config: &'a Config,
    pub(super) services: &'a Services,
    pub(super) engines: &'a Arc<Engines>,
    pub(super) health: &'a Arc<HealthRegistry>,
    pub(super) live: Live,
    pub(super) clock: &'a Arc<dyn Clock>,
}

impl Site<'_> {
    /// The whole site.
    pub(super) fn router(&self) -> anyhow::Result<Router> {
        let (api, document) = self.api();
        let reads = ReadLimit::new(Arc::clone(self.clock));
        let guarded = layers::inner(api, reads)
            .merge(metrics::router(self.metrics()?))
            .merge(openapi::router(&document).context("writing the API's document")?);
        let auth = Auth {
            access: Arc::clone(&self.services.access),
            registry: Arc::clone(&self.services.registry),
            behind_tls: self.config.http.behind_tls,
        };
        let site = api::auth::protect(guarded, auth).fallback(any(api::web::page));
        Ok(layers::outer(site))
    }

    /// The API's routes and their document.
    pub(super) fn api(&self) -> (Router, OpenApi) {
        let (router, document) = api::compose(
            [api::health::router(self.vitals())],
            self.people().into_iter().chain(self.devices()),
        );
        (router, openapi::complete(document))
    }

    fn vitals(&self) -> Vitals {
        let engines = Arc::clone(self.engines);
        let work = self.services.intake.clone();
        let own = |nodes: &Arc<Nodes>| nodes.id().own().to_owned();
        Vitals {
            health: Arc::clone(self.health),
            instance: self.services.nodes.as_ref().map(own),
            intake: Box::new(move || work.report(&engines.journal.stats())),
        }
    }

    fn people(&self) -> Vec<OpenApiRouter> {
        let access = &self.services.access;
        vec![
            api::session::router(SessionState {
                access: Arc::clone(access),
                behind_tls: self.config.http.behind_tls,
            }),
            api::users::router(Arc::clone(access)),
            api::tokens::router(Arc::clone(access)),
            api::audit::router(Arc::clone(&self.services.audit)),
        ]
    }

    fn devices(&self) -> Vec<OpenApiRouter> {
        let Services {
            registry,
            view,
            dispatcher,
            events,
            incidents,
            fleet,
            gate,
            history,
            statistics,
            retention,
            refill,
            ..
        } = self.services;
        let devices = Devices {
            registry: Arc::clone(registry),
            view: Arc::clone(view) as _,
        };
        let telemetry = Telemetry {
            directory: Arc::clone(registry) as _,
            hot: Arc::clone(&self.services.hot.state),
            refill: Arc::clone(refill),
            gate: Arc::clone(gate),
            clock: Arc::clone(self.clock),
        };
        vec![
            api::devices::router(devices.clone()),
            api::enrolment::router(devices),
            api::commands::router(Arc::clone(dispatcher)),
            api::telemetry::router(telemetry),
            share(api::history::router(history.clone())),
            share(api::stats::router(Arc::clone(statistics))),
            api::retention::router(Arc::clone(retention)),
            api::nodes::router(self.services.nodes.clone()),
            api::events::router(Arc::clone(events), Arc::clone(incidents)),
            share(api::stats_fleet::router(Arc::clone(fleet))),
            api::live::router(self.live.clone()),
        ]
    }

    fn metrics(&self) -> anyhow::Result<Metrics> {
        let fleet_devices_max = usize::try_from(self.config.metrics.fleet_devices_max)?;
        Ok(Metrics {
            handle: metrics::install()?,
            collectors: figures::collectors(self.services, self.engines, self.health),
            fleet: Arc::clone(&self.services.fleet),
            fleet_devices_max,
            trust_loopback: !self.config.http.behind_tls,
        })
    }
}
