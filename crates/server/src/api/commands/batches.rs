//! Many commands in one go.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dormouse_core::command::{OnPending, Order};
use dormouse_core::ids::{BatchId, DeviceId, SocketId};
use dormouse_core::services::dispatcher::{BatchRequest, Dispatcher, SendError};
use dormouse_core::wire::Action;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::batch_body::BatchBody;
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
    action: Action,
    /// Which sockets; at most 10000, none twice.
    targets: Option<Vec<BatchTarget>>,
    /// Every strip at this place or inside it, such as `A/3` or `A/3/302`.
    location: Option<String>,
    /// How long `cycle` stays off, ms; 3000 where left out.
    #[schema(minimum = 100, maximum = 57_000)]
    off_ms: Option<u32>,
    /// What happens to commands that are pending there.
    #[serde(default)]
    on_pending: OnPending,
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
        order: Order::new(body.action, body.off_ms, body.timeout_ms)?,
        on_pending: body.on_pending,
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
        | SendError::HotState(_)
        | SendError::Port(_) => error.into(),
    }
}
