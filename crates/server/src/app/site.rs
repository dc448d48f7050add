//! The whole HTTP site: the API's modules and the page.

use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use dormouse_core::clock::Clock;
use dormouse_core::health::HealthRegistry;

use super::engines::Engines;
use super::services::Services;
use crate::api::{self, live::Live, telemetry::Telemetry};

/// What the site is made of.
pub(super) struct Site<'a> {
    pub(super) services: &'a Services,
    pub(super) engines: &'a Engines,
    pub(super) health: &'a Arc<HealthRegistry>,
    pub(super) live: Live,
    pub(super) clock: &'a Arc<dyn Clock>,
}

/// Puts the site together.
pub(super) fn router(site: &Site<'_>) -> Router {
    let Site {
        services, engines, ..
    } = site;
    let telemetry = Telemetry {
        directory: Arc::clone(&services.registry) as _,
        hot: Arc::clone(&engines.hot) as _,
        ingest: Arc::clone(&services.ingest),
        clock: Arc::clone(site.clock),
    };
    let (router, _document) = api::compose(
        [api::health::router(Arc::clone(site.health))],
        [
            api::commands::router(Arc::clone(&services.dispatcher)),
            api::telemetry::router(telemetry),
            api::events::router(
                Arc::clone(&services.events),
                Arc::clone(&services.incidents),
            ),
            api::stats_fleet::router(Arc::clone(&services.fleet)),
            api::live::router(site.live.clone()),
        ],
    );
    router.fallback(any(api::web::page))
}
