//! The whole HTTP site: the API's modules and the page.

use axum::Router;
use axum::routing::any;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use super::services::Services;
use crate::api;
use crate::config::Config;

/// Puts the site together; `stopping` ends what would otherwise stay open.
pub(super) fn router(
    _services: &Services,
    _engines: &Engines,
    _config: &Config,
    _stopping: CancellationToken,
) -> Router {
    let (router, _document) = api::compose([]);
    router.fallback(any(api::web::page))
}
