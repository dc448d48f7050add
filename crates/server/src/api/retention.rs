//! `GET /retention`: what history takes, what would be dropped, what was.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::history::{Tier, Usage};
use dormouse_core::retention::Cut;
use dormouse_core::services::retention::{Retention, RetentionPlan, RetentionReport};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Caller, Problem};

/// The route.
pub fn router(retention: Arc<Retention>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(show))
        .with_state(retention)
}

/// What history keeps and for how long.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Retention)]
struct RetentionBody {
    /// Days that raw samples are kept.
    raw_days: u32,
    /// Days that minute rollups are kept; coarser ones stay.
    minute_days: u32,
    /// Bytes that history may take on disk; `null` for no budget.
    budget_bytes: Option<u64>,
    /// What it takes now.
    usage: UsageBody,
    /// What a run would drop now.
    next_run: NextRunBody,
    /// What the last run did; `null` before the first since the start.
    last_run: Option<LastRunBody>,
}

/// What history takes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistoryUsage)]
struct UsageBody {
    /// Bytes in use on disk.
    bytes: u64,
    /// Raw samples from before it are gone; `null` while nothing was dropped.
    #[schema(format = DateTime)]
    raw_since: Option<String>,
    /// Minute rollups from before it are gone; `null` while none were dropped.
    #[schema(format = DateTime)]
    minutes_since: Option<String>,
}

/// What a run would drop now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RetentionPlan)]
struct NextRunBody {
    /// Raw samples that are too old.
    raw_rows: u64,
    /// Minute rollups that are too old.
    minute_rows: u64,
    /// Whether history is over its budget, so that more would go.
    over_budget: bool,
}

/// What the last run did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RetentionReport)]
struct LastRunBody {
    /// When it began.
    #[schema(format = DateTime)]
    started_at: String,
    /// How long it took, ms.
    took_ms: u64,
    /// Raw samples dropped.
    raw_rows: u64,
    /// Minute rollups dropped.
    minute_rows: u64,
    /// Days dropped early because of the budget.
    budget_cuts: u32,
    /// Whether history was still over its budget with nothing left to drop.
    still_over_budget: bool,
}

impl From<&Usage> for UsageBody {
    fn from(usage: &Usage) -> Self {
        Self {
            bytes: usage.bytes,
            raw_since: usage.floors.raw.map(Timestamp::to_rfc3339),
            minutes_since: usage.floors.minute.map(Timestamp::to_rfc3339),
        }
    }
}

impl From<&RetentionPlan> for NextRunBody {
    fn from(plan: &RetentionPlan) -> Self {
        let rows = |tier: Tier| {
            let of_tier = plan.too_old.iter().filter(|(cut, _)| cut.tier == tier);
            of_tier.map(|(_, rows)| *rows).sum()
        };
        Self {
            raw_rows: rows(Tier::Raw),
            minute_rows: rows(Tier::Minute),
            over_budget: plan.over_budget.is_some_and(|cut: Cut| cut.over_budget),
        }
    }
}

impl From<RetentionReport> for LastRunBody {
    fn from(report: RetentionReport) -> Self {
        Self {
            started_at: report.started_at.to_rfc3339(),
            took_ms: u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
            raw_rows: report.raw_rows,
            minute_rows: report.minute_rows,
            budget_cuts: report.budget_cuts,
            still_over_budget: report.still_over_budget,
        }
    }
}

/// Shows what history takes, what would be dropped now and what was dropped.
#[utoipa::path(get, path = "/retention", tag = "history", responses(
    (status = 200, description = "Rules, a dry run and the last report", body = RetentionBody),
))]
async fn show(
    _: Caller,
    State(retention): State<Arc<Retention>>,
) -> Result<Json<RetentionBody>, Problem> {
    let plan = retention.plan().await?;
    let rules = retention.rules();
    Ok(Json(RetentionBody {
        raw_days: rules.raw_days,
        minute_days: rules.minute_days,
        budget_bytes: rules.budget_bytes,
        usage: (&plan.usage).into(),
        next_run: (&plan).into(),
        last_run: retention.last_report().map(LastRunBody::from),
    }))
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use dormouse_core::access::Role;
    use dormouse_core::clock::ManualClock;
    use dormouse_core::event::Origin;
    use dormouse_core::ids::{DeviceKey, SocketId};
    use dormouse_core::memory::MemoryHistory;
    use dormouse_core::ports::history::HistoryStore;
    use dormouse_core::retention::RetentionRules;
    use dormouse_core::sample::{DeviceSample, Sample, Values};
    use dormouse_core::site::SiteZone;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    async fn get(retention: &Arc<Retention>) -> Value {
        let (router, _) = router(Arc::clone(retention)).split_for_parts();
        let request = Request::get("/retention").extension(Caller {
            origin: Origin::Server,
            role: Role::Admin,
            key: "test".into(),
        });
        let request = request.body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn the_plan_is_shown_before_the_run_and_the_report_after_it() {
        let store = Arc::new(MemoryHistory::new(SiteZone::UTC));
        let start = Timestamp::parse_rfc3339("2026-05-01T00:00:00Z").unwrap();
        let samples = (0..96).map(|n| DeviceSample {
            device: DeviceKey(1),
            sample: Sample {
                socket: SocketId::STRIP,
                ts: Timestamp::from_millis(start.as_millis() + n * 3_600_000),
                values: Values::default(),
            },
        });
        store.append(samples.collect(), None).await.unwrap();
        let now = Timestamp::from_millis(start.as_millis() + 96 * 3_600_000);
        let retention = Arc::new(Retention::new(
            store,
            Arc::new(ManualClock::at(now)),
            SiteZone::UTC,
            RetentionRules {
                raw_days: 1,
                minute_days: 2,
                budget_bytes: None,
            },
        ));
        let body = get(&retention).await;
        let plan = json!({"rawRows": 71, "minuteRows": 48, "overBudget": false});
        assert_eq!(body["nextRun"], plan);
        assert_eq!(body["lastRun"], Value::Null);
        assert_eq!(body["usage"]["rawSince"], Value::Null);

        let mut run = retention.begin();
        while run.step().await.unwrap().is_none() {}
        let body = get(&retention).await;
        assert_eq!(body["nextRun"]["rawRows"], 0);
        assert_eq!(body["lastRun"]["rawRows"], 71);
        assert_eq!(body["usage"]["rawSince"], "2026-05-04T00:00:00.000Z");
    }
}
