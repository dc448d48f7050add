//! `GET /devices/{deviceId}/history`, as JSON for charts and as CSV of any
//! length.

mod csv;
mod point;

use axum::Json;
use axum::extract::State;
use dormouse_core::ids::{DeviceId, SocketId};
use dormouse_core::services::history::{Chart, History, HistoryQuery, Points, Resolution};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::times::QueryTime;
use super::{ApiPath, ApiQuery, Caller, Problem, ProblemBody};
use point::HistoryPoint;

/// The routes.
pub fn router(history: History) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(history_of))
        .routes(routes!(csv::export_of))
        .with_state(history)
}

/// Which socket, range and resolution.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// The first moment: RFC 3339 or unix ms. A day before `to` where absent.
    #[param(value_type = Option<String>, example = "2026-01-31T00:00:00Z")]
    from: Option<QueryTime>,
    /// The moment after the last. Now where absent.
    #[param(value_type = Option<String>, example = "2026-02-01T00:00:00Z")]
    to: Option<QueryTime>,
    /// How fine. `auto` picks the finest that gives at most about 1,000
    /// points; an export takes it for `raw`.
    resolution: Option<ResolutionParam>,
    /// Which socket; 0, the default, for the whole strip.
    #[param(value_type = Option<u8>, maximum = 32)]
    socket_id: Option<u64>,
}

/// How fine history is answered.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Resolution)]
enum ResolutionParam {
    /// The finest that fits a chart.
    Auto,
    /// Every sample.
    Raw,
    /// Minutes.
    Minute,
    /// Quarters of an hour.
    Quarter,
    /// Hours of the site.
    Hour,
    /// Days of the site.
    Day,
}

impl HistoryParams {
    fn query(&self) -> Result<HistoryQuery, Problem> {
        Ok(HistoryQuery {
            socket: SocketId::parse(self.socket_id.unwrap_or(0))?,
            from: self.from.map(|it| it.0),
            to: self.to.map(|it| it.0),
            resolution: match self.resolution.unwrap_or(ResolutionParam::Auto) {
                ResolutionParam::Auto => None,
                ResolutionParam::Raw => Some(Resolution::Raw),
                ResolutionParam::Minute => Some(Resolution::Minute),
                ResolutionParam::Quarter => Some(Resolution::Quarter),
                ResolutionParam::Hour => Some(Resolution::Hour),
                ResolutionParam::Day => Some(Resolution::Day),
            },
        })
    }
}

/// A stretch of one socket's history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = History)]
struct HistoryBody {
    /// Whose.
    device_id: String,
    /// Which socket; 0 for the whole strip.
    socket_id: u8,
    /// How fine: what was asked for, or what `auto` picked.
    #[schema(value_type = ResolutionParam)]
    resolution: &'static str,
    /// The first moment covered: the start of the first bucket.
    #[schema(format = DateTime)]
    from: String,
    /// The moment after the last.
    #[schema(format = DateTime)]
    to: String,
    /// In order of time. Where nothing was measured there is no point.
    points: Vec<HistoryPoint>,
}

impl HistoryBody {
    fn new(device: &DeviceId, socket: SocketId, chart: &Chart) -> Self {
        Self {
            device_id: device.as_str().to_owned(),
            socket_id: socket.get(),
            resolution: chart.resolution.name(),
            from: chart.range.start.to_rfc3339(),
            to: chart.range.end.to_rfc3339(),
            points: match &chart.points {
                Points::Raw(samples) => samples.iter().map(HistoryPoint::from).collect(),
                Points::Buckets(buckets) => buckets.iter().map(HistoryPoint::from).collect(),
            },
        }
    }
}

/// Shows the history of a strip or one of its sockets.
#[utoipa::path(
    get,
    path = "/devices/{deviceId}/history",
    tag = "history",
    params(("deviceId" = String, Path, description = "Which device"), HistoryParams),
    responses(
        (status = 200, description = "The points", body = HistoryBody),
        (status = 404, description = "No such device", body = ProblemBody),
        (status = 422, description = "A range that makes no sense", body = ProblemBody),
    )
)]
async fn history_of(
    _: Caller,
    State(history): State<History>,
    ApiPath(device): ApiPath<String>,
    ApiQuery(params): ApiQuery<HistoryParams>,
) -> Result<Json<HistoryBody>, Problem> {
    let device = DeviceId::parse(&device)?;
    let query = params.query()?;
    let chart = history.chart(&device, query).await?;
    Ok(Json(HistoryBody::new(&device, query.socket, &chart)))
}

#[cfg(test)]
mod tests;
