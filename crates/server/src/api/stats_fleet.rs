//! `GET /stats/fleet`: the totals of this moment.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::live::FleetTotals;
use dormouse_core::services::fleet::Fleet;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Caller, ProblemBody};

/// The route.
pub fn router(fleet: Arc<Fleet>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(fleet_totals))
        .with_state(fleet)
}

/// How many devices are there, and what they draw together now.
#[utoipa::path(get, path = "/stats/fleet", tag = "statistics", responses(
    (status = 200, description = "The totals", body = FleetTotals),
    (status = 401, description = "Not signed in", body = ProblemBody),
))]
async fn fleet_totals(_: Caller, State(fleet): State<Arc<Fleet>>) -> Json<FleetTotals> {
    Json(fleet.totals().await)
}
