//! `/stats/…`: energy of the fleet and completeness of a device's history.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::ids::DeviceId;
use dormouse_core::services::statistics::{
    EnergyQuery, EnergyTable, Grouping, HourCompleteness, Statistics,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::times::QueryTime;
use super::{ApiQuery, Caller, Problem, ProblemBody};

/// The routes.
pub fn router(statistics: Arc<Statistics>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(today))
        .routes(routes!(energy))
        .routes(routes!(completeness))
        .with_state(statistics)
}

/// Energy of the fleet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EnergyToday)]
struct TodayBody {
    /// Local midnight, when today began.
    #[schema(format = DateTime)]
    since: String,
    /// Energy used since then, Wh.
    energy_wh: f64,
    /// Energy used since the beginning, Wh.
    total_energy_wh: f64,
}

/// Shows what the fleet used today and in all.
#[utoipa::path(get, path = "/stats/today", tag = "statistics", responses(
    (status = 200, description = "Energy of the fleet", body = TodayBody),
))]
async fn today(
    _: Caller,
    State(statistics): State<Arc<Statistics>>,
) -> Result<Json<TodayBody>, Problem> {
    let today = statistics.today().await?;
    Ok(Json(TodayBody {
        since: today.since.to_rfc3339(),
        energy_wh: tenth_of_milli(today.today_wh),
        total_energy_wh: tenth_of_milli(statistics.total_wh().await?),
    }))
}

/// Which range and groups.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EnergyParams {
    /// The first moment: RFC 3339 or unix ms. A day before `to` where absent.
    #[param(value_type = Option<String>, example = "2026-01-31T00:00:00Z")]
    from: Option<QueryTime>,
    /// The moment after the last. Now where absent.
    #[param(value_type = Option<String>, example = "2026-02-01T00:00:00Z")]
    to: Option<QueryTime>,
    /// What is added up; `building` where absent.
    #[param(inline)]
    by: Option<GroupingParam>,
    /// `hour` for at most 2 days, `day` for at most 732; `auto`, the default,
    /// picks the finer one that fits.
    resolution: Option<EnergyResolution>,
}

/// What energy is added up by.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Grouping)]
enum GroupingParam {
    /// Each device on its own.
    Device,
    /// The rooms.
    Room,
    /// The floors.
    Floor,
    /// The buildings.
    Building,
}

/// How fine energy is answered.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EnergyResolution {
    /// The finer one that fits.
    Auto,
    /// Hours of the site.
    Hour,
    /// Days of the site.
    Day,
}

/// Energy by group and time.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EnergyTable)]
struct EnergyBody {
    /// How fine: what was asked for, or what `auto` picked.
    resolution: EnergyResolution,
    /// The first moment covered: the start of the first bucket.
    #[schema(format = DateTime)]
    from: String,
    /// The moment after the last.
    #[schema(format = DateTime)]
    to: String,
    /// The groups in order of their names.
    groups: Vec<EnergyGroup>,
}

/// One group's energy.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EnergyGroup {
    /// The device's id, or the place as `building/floor/room`; `null` for
    /// devices without such a place, or that are no more.
    name: Option<String>,
    /// Over the whole range, Wh.
    energy_wh: f64,
    /// In order of time; where nothing was measured there is no point.
    points: Vec<EnergyPoint>,
}

/// Energy used in one bucket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EnergyPoint {
    /// When the bucket starts, unix ms.
    ts: i64,
    /// Energy used in it, Wh.
    energy_wh: f64,
}

impl From<EnergyTable> for EnergyBody {
    fn from(table: EnergyTable) -> Self {
        let groups = table.groups.into_iter().map(|(name, row)| EnergyGroup {
            name,
            energy_wh: tenth_of_milli(row.total_wh),
            points: row
                .points
                .into_iter()
                .map(|(start, energy_wh)| EnergyPoint {
                    ts: start.as_millis(),
                    energy_wh: tenth_of_milli(energy_wh),
                })
                .collect(),
        });
        Self {
            resolution: if table.hours {
                EnergyResolution::Hour
            } else {
                EnergyResolution::Day
            },
            from: table.range.start.to_rfc3339(),
            to: table.range.end.to_rfc3339(),
            groups: groups.collect(),
        }
    }
}

/// Shows energy by device or place, over hours or days.
#[utoipa::path(
    get,
    path = "/stats/energy",
    tag = "statistics",
    params(EnergyParams),
    responses(
        (status = 200, description = "Energy by group and time", body = EnergyBody),
        (status = 422, description = "A range that makes no sense", body = ProblemBody),
    )
)]
async fn energy(
    _: Caller,
    State(statistics): State<Arc<Statistics>>,
    ApiQuery(params): ApiQuery<EnergyParams>,
) -> Result<Json<EnergyBody>, Problem> {
    let query = EnergyQuery {
        from: params.from.map(|it| it.0),
        to: params.to.map(|it| it.0),
        by: match params.by.unwrap_or(GroupingParam::Building) {
            GroupingParam::Device => Grouping::Device,
            GroupingParam::Room => Grouping::Room,
            GroupingParam::Floor => Grouping::Floor,
            GroupingParam::Building => Grouping::Building,
        },
        hours: match params.resolution.unwrap_or(EnergyResolution::Auto) {
            EnergyResolution::Auto => None,
            EnergyResolution::Hour => Some(true),
            EnergyResolution::Day => Some(false),
        },
    };
    Ok(Json(statistics.energy(query).await?.into()))
}

/// Whose completeness, and when.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CompletenessParams {
    /// Which device.
    device_id: String,
    /// The first moment: RFC 3339 or unix ms. A day before `to` where absent.
    #[param(value_type = Option<String>, example = "2026-01-31T00:00:00Z")]
    from: Option<QueryTime>,
    /// The moment after the last. Now where absent.
    #[param(value_type = Option<String>, example = "2026-02-01T00:00:00Z")]
    to: Option<QueryTime>,
}

/// How complete a device's history is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Completeness)]
struct CompletenessBody {
    /// Whose.
    device_id: String,
    /// The hours in which something came or should have come.
    hours: Vec<CompletenessHour>,
}

/// What came of what should have come in an hour.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CompletenessHour {
    /// When the hour starts, unix ms.
    ts: i64,
    /// Samples that came.
    received: i64,
    /// Samples that should have come; `null` where no period is known.
    expected: Option<f64>,
    /// The received part of the expected, 0 to 1.
    completeness: Option<f64>,
}

impl From<&HourCompleteness> for CompletenessHour {
    fn from(hour: &HourCompleteness) -> Self {
        Self {
            ts: hour.start.as_millis(),
            received: hour.received,
            expected: hour.expected.map(tenth_of_milli),
            completeness: hour.ratio.map(tenth_of_milli),
        }
    }
}

/// Shows how complete a device's history is, hour by hour.
#[utoipa::path(
    get,
    path = "/stats/completeness",
    tag = "statistics",
    params(CompletenessParams),
    responses(
        (status = 200, description = "Hour by hour", body = CompletenessBody),
        (status = 404, description = "No such device", body = ProblemBody),
        (status = 422, description = "A range that makes no sense", body = ProblemBody),
    )
)]
async fn completeness(
    _: Caller,
    State(statistics): State<Arc<Statistics>>,
    ApiQuery(params): ApiQuery<CompletenessParams>,
) -> Result<Json<CompletenessBody>, Problem> {
    let device = DeviceId::parse(&params.device_id)?;
    let (from, to) = (params.from.map(|it| it.0), params.to.map(|it| it.0));
    let hours = statistics.completeness(&device, from, to).await?;
    Ok(Json(CompletenessBody {
        device_id: params.device_id,
        hours: hours.iter().map(CompletenessHour::from).collect(),
    }))
}

/// Rounds to four decimals, so that sums of binary fractions read well.
fn tenth_of_milli(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests;
