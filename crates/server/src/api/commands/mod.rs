//! Sending commands, looking at them, withdrawing them.

mod batch_body;
mod batches;
mod body;
mod problem;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dormouse_core::command::{Command, OnPending, Order};
use dormouse_core::ids::{CommandId, DeviceId, SocketId};
use dormouse_core::services::dispatcher::{Cancelled, Dispatcher, SendError, SendRequest};
use dormouse_core::wire::Action;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    ApiJson, ApiPath, ApiQuery, Caller, Page, Problem, ProblemBody, decode_cursor, encode_cursor,
    page_size,
};
pub use body::CommandBody;

/// Commands on one page where the request does not say.
const LATEST: u32 = 10;

/// The routes of commands and batches.
pub fn router(dispatcher: Arc<Dispatcher>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(send))
        .routes(routes!(of_device))
        .routes(routes!(show, cancel))
        .merge(batches::router())
        .with_state(dispatcher)
}

/// One command, please.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SendCommand {
    /// What to do.
    action: Action,
    /// How long `cycle` stays off, ms; 3000 where left out.
    #[schema(minimum = 100, maximum = 57_000)]
    off_ms: Option<u32>,
    /// What happens to a command that is pending there.
    #[serde(default)]
    on_pending: OnPending,
    /// How long to wait for the verdict, ms; 6000 where left out.
    #[schema(minimum = 1_000, maximum = 60_000)]
    timeout_ms: Option<u32>,
    /// Whether to send it to a device that is offline.
    #[serde(default)]
    send_offline: bool,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SendQuery {
    /// Answer when the command is final rather than at once.
    #[serde(default)]
    wait: bool,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// The most commands on the page; 10 where left out, 500 at most.
    limit: Option<u32>,
    /// Where the page starts: `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Send a command
///
/// Answers as soon as the command is written and handed to the broker; with
/// `wait=true`, once it is final.
#[utoipa::path(
    post,
    path = "/devices/{deviceId}/sockets/{socketId}/commands",
    tag = "commands",
    params(
        ("deviceId" = String, Path, description = "The device"),
        ("socketId" = u8, Path, description = "The socket; 0 for the whole strip"),
        ("Idempotency-Key" = Option<String>, Header,
         description = "The same key and body within 24 hours answer the first one's command"),
        SendQuery,
    ),
    request_body = SendCommand,
    responses(
        (status = 202, description = "Sent", body = CommandBody),
        (status = 200, description = "Final (with `wait=true`)", body = CommandBody),
        (status = 404, description = "Unknown device or socket", body = ProblemBody),
        (status = 409, description = "Device offline, or a command is pending there; `pending` lists it", body = ProblemBody),
        (status = 422, description = "A field breaks a rule, or the key was used for another body", body = ProblemBody),
        (status = 429, description = "More than three within a second", body = ProblemBody),
    )
)]
async fn send(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    ApiPath((device, socket)): ApiPath<(String, String)>,
    ApiQuery(query): ApiQuery<SendQuery>,
    headers: HeaderMap,
    ApiJson(body): ApiJson<SendCommand>,
) -> Result<Response, Problem> {
    let request = SendRequest {
        device: DeviceId::parse(&device)?,
        socket: parse_socket(&socket)?,
        order: Order::new(body.action, body.off_ms, body.timeout_ms)?,
        on_pending: body.on_pending,
        send_offline: body.send_offline,
        key: idempotency_key(&headers, &caller)?,
        origin: caller.origin,
    };
    let sent = dispatcher.send(request).await.inspect_err(|refusal| {
        tracing::info!(device_id = device, socket, %refusal, "command refused");
    })?;
    let sent = sent.command;
    if query.wait
        && let Some(known) = dispatcher.wait(sent.id).await?
    {
        return Ok(command_answer(StatusCode::OK, &known));
    }
    Ok(command_answer(StatusCode::ACCEPTED, &sent))
}

/// A device's commands, newest first
#[utoipa::path(
    get,
    path = "/devices/{deviceId}/commands",
    tag = "commands",
    params(("deviceId" = String, Path, description = "The device"), ListQuery),
    responses(
        (status = 200, description = "A page", body = Page<CommandBody>),
        (status = 404, description = "Unknown device", body = ProblemBody),
        (status = 422, description = "A parameter breaks a rule", body = ProblemBody),
    )
)]
async fn of_device(
    State(dispatcher): State<Arc<Dispatcher>>,
    ApiPath(device): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<Page<CommandBody>>, Problem> {
    let device = DeviceId::parse(&device)?;
    let limit = page_size(Some(query.limit.unwrap_or(LATEST)))?;
    let before: Option<CommandId> = query.cursor.as_deref().map(decode_cursor).transpose()?;
    // One more than shown tells whether there is a next page.
    let mut commands = dispatcher.of_device(&device, before, limit + 1).await?;
    let more = commands.len() > limit as usize;
    commands.truncate(limit as usize);
    let last = commands.last().filter(|_| more);
    Ok(Json(Page {
        next_cursor: last.map(|it| encode_cursor(&it.id)),
        items: commands.iter().map(CommandBody::from).collect(),
    }))
}

/// One command
#[utoipa::path(
    get,
    path = "/commands/{cmdId}",
    tag = "commands",
    params(("cmdId" = String, Path, description = "The command")),
    responses(
        (status = 200, description = "The command", body = CommandBody),
        (status = 404, description = "Unknown command", body = ProblemBody),
    )
)]
async fn show(
    State(dispatcher): State<Arc<Dispatcher>>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<CommandBody>, Problem> {
    let id = parse_command(&id)?;
    let command = dispatcher.get(id).await?;
    let command = command.ok_or_else(|| problem::unknown_command(id))?;
    Ok(Json(CommandBody::from(&command)))
}

/// Cancel a command
///
/// Withdraws the wait, not the message: the device may still carry it out.
#[utoipa::path(
    delete,
    path = "/commands/{cmdId}",
    tag = "commands",
    params(("cmdId" = String, Path, description = "The command")),
    responses(
        (status = 200, description = "Cancelled", body = body::CancelledBody),
        (status = 404, description = "Unknown command", body = ProblemBody),
        (status = 409, description = "It was final before; `command` shows how", body = ProblemBody),
    )
)]
async fn cancel(
    State(dispatcher): State<Arc<Dispatcher>>,
    caller: Caller,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<body::CancelledBody>, Problem> {
    let id = parse_command(&id)?;
    match dispatcher.cancel(id, caller.origin).await? {
        Cancelled::Now(command) => Ok(Json(body::CancelledBody::from(&*command))),
        Cancelled::AlreadyFinal(command) => Err(problem::already_final(&command)),
    }
}

fn command_answer(status: StatusCode, command: &Command) -> Response {
    let location = format!("/api/v1/commands/{}", command.id);
    let body = Json(CommandBody::from(command));
    (status, [(header::LOCATION, location)], body).into_response()
}

fn parse_socket(text: &str) -> Result<SocketId, Problem> {
    let rule = "a socket number is 1 to 32, or 0 for the whole strip";
    let number: u64 = text
        .parse()
        .map_err(|_| Problem::invalid("socketId", rule))?;
    Ok(SocketId::parse(number)?)
}

fn parse_command(text: &str) -> Result<CommandId, Problem> {
    CommandId::parse(text).map_err(|error| Problem::invalid("cmdId", error.to_string()))
}

/// The caller's own key for this request, if it sent one.
fn idempotency_key(
    headers: &HeaderMap,
    caller: &Caller,
) -> Result<Option<(Arc<str>, String)>, Problem> {
    let Some(value) = headers.get("Idempotency-Key") else {
        return Ok(None);
    };
    let key = value.to_str().map_err(|_| SendError::InvalidKey)?;
    Ok(Some((Arc::clone(&caller.key), key.to_owned())))
}
