//! Many commands in one go.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dormouse_core::command::{BatchReport, ItemResult, Order, StateName, Target};
use dormouse_core::event::Origin;
use dormouse_core::ids::{BatchId, DeviceId, SocketId};
use dormouse_core::services::dispatcher::{BatchRequest, Dispatcher, SendError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{ActionName, CommandEvidence, OnPendingName};
use super::{ApiJson, ApiPath, Caller, Problem, ProblemBody, idempotency_key};

pub(super) fn router() -> OpenApiRouter<Arc<Dispatcher>> {
    OpenApiRouter::new()
        .routes(routes!(start))
        .routes(routes!(show))
}

/// One order for many sockets: those in `targets`, or every whole strip at
/// `location`; one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartBatch {
    /// What each of them is told.
    action: ActionName,
    /// Which sockets; at most 10000, none twice.
    targets: Option<Vec<BatchTarget>>,
    /// Every strip at this place or inside it, such as `A/3` or `A/3/302`.
    location: Option<String>,
    /// How long `cycle` stays off, ms; 3000 where left out.
    #[schema(minimum = 100, maximum = 57_000)]
    off_ms: Option<u32>,
    /// What happens to commands that are pending there.
    #[serde(default)]
    on_pending: OnPendingName,
    /// How long to wait for each verdict, ms; 6000 where left out.
    #[schema(minimum = 1_000, maximum = 60_000)]
    timeout_ms: Option<u32>,
    /// Whether to send to devices that are offline.
    #[serde(default)]
    send_offline: bool,
}

/// One socket of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchTarget {
    /// Whose.
    device_id: String,
    /// Which; 0 or left out for the whole strip.
    #[serde(default)]
    socket_id: u8,
}

/// A batch and how it goes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Batch)]
struct BatchBody {
    /// Which batch.
    batch_id: String,
    /// What each target is told.
    action: ActionName,
    /// Who ordered it.
    #[schema(value_type = Object)]
    origin: Origin,
    /// When.
    created_at: String,
    /// `running` until every result is final, then `done`.
    state: BatchState,
    /// How many results are in which state.
    progress: BatchProgress,
    /// One result per target, in the order of the targets.
    results: Vec<BatchResult>,
}

/// Whether a batch is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum BatchState {
    /// Some results are not final.
    Running,
    /// All results are final.
    Done,
}

/// How many results are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BatchProgress {
    /// All of them.
    total: u32,
    /// Those whose turn has not come.
    waiting: u32,
    /// Those whose command is pending.
    pending: u32,
    /// Those carried out.
    success: u32,
    /// Those not carried out.
    failed: u32,
    /// Those without a verdict in time.
    timeout: u32,
    /// Those cancelled or replaced.
    cancelled: u32,
    /// Those that were sent nothing.
    refused: u32,
}

/// How one target fared.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BatchResult {
    /// Whose.
    device_id: String,
    /// Which socket; 0 for the whole strip.
    socket_id: u8,
    /// Where it stands.
    state: ResultState,
    /// Its command, once sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd_id: Option<String>,
    /// How success is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<CommandEvidence>,
    /// Why it was refused, failed or cancelled, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Where one target of a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ResultState {
    /// Its turn has not come.
    Waiting,
    /// It was sent nothing; `reason` says why.
    Refused,
    /// Its command waits for the verdict.
    Pending,
    /// Carried out.
    Success,
    /// Not carried out.
    Failed,
    /// No verdict came in time.
    Timeout,
    /// Nobody waits for it any more.
    Cancelled,
}

/// Start a batch
///
/// Answers once the batch is written. Its commands go out with bounded
/// concurrency and paced per device; follow them with `GET`.
#[utoipa::path(
    post,
    path = "/batches",
    tag = "commands",
    params(
        ("Idempotency-Key" = Option<String>, Header,
         description = "The same key and body within 24 hours answer the first one's batch"),
    ),
    request_body = StartBatch,
    responses(
        (status = 202, description = "Taken on", body = BatchBody),
        (status = 422, description = "A field breaks a rule, or names an unknown device or socket", body = ProblemBody),
        (status = 503, description = "Too many batches run already", body = ProblemBody),
    )
)]
async fn start(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    headers: HeaderMap,
    ApiJson(body): ApiJson<StartBatch>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers, &caller)?;
    let (targets, location) = whom(body.targets, body.location)?;
    let by_place = location.is_some();
    let request = BatchRequest {
        order: Order::new(body.action.into(), body.off_ms, body.timeout_ms)?,
        on_pending: body.on_pending.into(),
        send_offline: body.send_offline,
        origin: caller.origin,
        targets: targets.clone(),
        location,
        key,
    };
    let started = dispatcher.start_batch(request).await;
    let refused = |error| {
        if by_place && matches!(error, SendError::NoTargets) {
            Problem::invalid("/location", error.to_string())
        } else {
            in_targets(error, &targets)
        }
    };
    let id = started.map_err(refused)?.id;
    let body = report(&dispatcher, id).await?;
    let location = format!("/api/v1/batches/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], body).into_response())
}

/// One batch
#[utoipa::path(
    get,
    path = "/batches/{batchId}",
    tag = "commands",
    params(("batchId" = String, Path, description = "The batch")),
    responses(
        (status = 200, description = "The batch", body = BatchBody),
        (status = 404, description = "Unknown batch", body = ProblemBody),
    )
)]
async fn show(
    State(dispatcher): State<Arc<Dispatcher>>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<BatchBody>, Problem> {
    let id = BatchId::parse(&id).map_err(|error| Problem::invalid("batchId", error.to_string()))?;
    report(&dispatcher, id).await
}

async fn report(dispatcher: &Dispatcher, id: BatchId) -> Result<Json<BatchBody>, Problem> {
    let found = dispatcher.batch(id).await?;
    let unknown = || Problem::not_found(format!("there is no batch {id}"));
    Ok(Json(BatchBody::from(&found.ok_or_else(unknown)?)))
}

type Whom = (Vec<(DeviceId, SocketId)>, Option<String>);

fn whom(targets: Option<Vec<BatchTarget>>, location: Option<String>) -> Result<Whom, Problem> {
    match (targets, location) {
        (Some(targets), None) => {
            let parsed = targets.iter().enumerate().map(|(index, target)| {
                let device = DeviceId::parse(&target.device_id).map_err(|error| {
                    Problem::invalid(format!("/targets/{index}/deviceId"), error.to_string())
                })?;
                let socket = SocketId::parse(target.socket_id.into()).map_err(|error| {
                    Problem::invalid(format!("/targets/{index}/socketId"), error.to_string())
                })?;
                Ok((device, socket))
            });
            Ok((parsed.collect::<Result<_, Problem>>()?, None))
        }
        (None, Some(location)) => {
            dormouse_core::location::check(&location)
                .map_err(|error| Problem::invalid("/location", error.to_string()))?;
            Ok((Vec::new(), Some(location)))
        }
        (Some(_), Some(_)) | (None, None) => Err(Problem::invalid(
            "/targets",
            "give either 'targets' or 'location'",
        )),
    }
}

/// Names the target that was refused.
fn in_targets(error: SendError, targets: &[(DeviceId, SocketId)]) -> Problem {
    let detail = error.to_string();
    let index_of = |found: &dyn Fn(&(DeviceId, SocketId)) -> bool| targets.iter().position(found);
    match &error {
        SendError::UnknownDevice(id) => match index_of(&|it| it.0 == *id) {
            Some(index) => Problem::invalid(format!("/targets/{index}/deviceId"), detail),
            None => error.into(),
        },
        SendError::UnknownSocket { device, socket } => {
            match index_of(&|it| it.0 == *device && it.1 == *socket) {
                Some(index) => Problem::invalid(format!("/targets/{index}/socketId"), detail),
                None => error.into(),
            }
        }
        SendError::NoTargets
        | SendError::TooManyTargets
        | SendError::TargetTwice { .. }
        | SendError::DeviceOffline(_)
        | SendError::Pending(_)
        | SendError::RateLimited { .. }
        | SendError::InvalidKey
        | SendError::KeyReused
        | SendError::Overloaded
        | SendError::Stopping
        | SendError::Port(_) => error.into(),
    }
}

impl From<&BatchReport> for BatchBody {
    fn from(report: &BatchReport) -> Self {
        let batch = &report.batch;
        let results: Vec<BatchResult> = batch
            .targets
            .iter()
            .zip(&report.results)
            .map(|(target, result)| BatchResult::new(target, result))
            .collect();
        let progress = BatchProgress::of(&results);
        let running = progress.waiting + progress.pending > 0;
        Self {
            batch_id: batch.id.to_string(),
            action: batch.order.action.into(),
            origin: batch.origin.clone(),
            created_at: batch.created_at.to_rfc3339(),
            state: if running {
                BatchState::Running
            } else {
                BatchState::Done
            },
            progress,
            results,
        }
    }
}

impl BatchProgress {
    fn of(results: &[BatchResult]) -> Self {
        let mut progress = Self::default();
        for result in results {
            progress.total += 1;
            let count = match result.state {
                ResultState::Waiting => &mut progress.waiting,
                ResultState::Refused => &mut progress.refused,
                ResultState::Pending => &mut progress.pending,
                ResultState::Success => &mut progress.success,
                ResultState::Failed => &mut progress.failed,
                ResultState::Timeout => &mut progress.timeout,
                ResultState::Cancelled => &mut progress.cancelled,
            };
            *count += 1;
        }
        progress
    }
}

impl BatchResult {
    fn new(target: &Target, result: &ItemResult) -> Self {
        let mut body = Self {
            device_id: target.device_id.to_string(),
            socket_id: target.socket.get(),
            state: ResultState::Waiting,
            cmd_id: None,
            evidence: None,
            reason: None,
        };
        match result {
            ItemResult::Waiting => {}
            ItemResult::Refused(refusal) => {
                body.state = ResultState::Refused;
                body.reason = Some(refusal.name().to_owned());
            }
            ItemResult::Sent(command) => {
                let state = &command.progress.state;
                body.state = match state.name() {
                    StateName::Pending => ResultState::Pending,
                    StateName::Success => ResultState::Success,
                    StateName::Failed => ResultState::Failed,
                    StateName::Timeout => ResultState::Timeout,
                    StateName::Cancelled => ResultState::Cancelled,
                };
                body.cmd_id = Some(command.id.to_string());
                body.evidence = state.evidence().map(Into::into);
                body.reason = state.reason();
            }
        }
        body
    }
}
