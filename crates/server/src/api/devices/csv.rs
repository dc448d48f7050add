//! `/devices.csv`: many devices in and out, as a spreadsheet keeps them.

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dormouse_core::device::DeviceState;
use dormouse_core::services::registry::{DeviceFilter, ImportMode, RowOutcome};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CredentialsBody, Devices};
use crate::api::auth::By;
use crate::api::{ApiQuery, FieldError, Problem, ProblemBody};
use crate::device_csv;

/// The largest file, bytes.
const BODY_MAX: usize = 4 * 1_024 * 1_024;
/// Broken rules that one answer names.
const ERRORS_MAX: usize = 500;

/// Which devices to write.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParams {
    /// Only at this place or inside it.
    location: Option<String>,
    /// Only with this text in id, name or location.
    q: Option<String>,
}

/// How to read the file.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportParams {
    /// Only tell what would happen.
    dry_run: bool,
    /// What to do with a device that is there already: `refuse` (default),
    /// `skip` or `update`.
    #[param(inline)]
    on_existing: OnExisting,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OnExisting {
    #[default]
    Refuse,
    Skip,
    Update,
}

/// What became of the file.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ImportReport {
    /// Whether anything was written; never in a dry run.
    written: bool,
    added: usize,
    updated: usize,
    unchanged: usize,
    refused: usize,
    /// A verdict on each row, in order.
    rows: Vec<RowReport>,
}

/// The verdict on a row.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RowReport {
    /// The line in the file, from 1.
    line: u64,
    /// `added`, `updated`, `unchanged` or `refused`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    /// Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<CredentialsBody>,
    /// The columns that broke a rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Writes devices as CSV: `deviceId,name,location,sockets,periodS`.
#[utoipa::path(
    get, path = "/devices.csv", tag = "devices", params(ExportParams),
    responses((status = 200, body = String, content_type = "text/csv")),
)]
pub(super) async fn export(
    State(devices): State<Devices>,
    by: By,
    ApiQuery(params): ApiQuery<ExportParams>,
) -> Result<Response, Problem> {
    let filter = DeviceFilter {
        state: DeviceState::Active,
        location: params.location,
        text: params.q,
        scope: by.grant().scope.clone(),
    };
    let listing = devices.registry.list(&filter, None, usize::MAX, |_| true);
    let text =
        device_csv::write(&listing.devices).map_err(|error| Problem::server(error.as_ref()))?;
    Ok(csv_answer("devices.csv", text))
}

/// Adds devices from CSV with the columns `deviceId` and, in any order,
/// `name`, `location`, `sockets`, `periodS`: all of them or none. Answers
/// with a verdict on each row and the credentials, shown this once; with
/// `Accept: text/csv` with `deviceId,username,password`.
#[utoipa::path(
    post, path = "/devices.csv", tag = "devices", params(ImportParams),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, body = ImportReport),
        (status = 413, body = ProblemBody),
        (status = 415, body = ProblemBody),
        (status = 422, description = "A row is refused, so nothing was written",
            body = ProblemBody),
    ),
)]
pub(super) async fn import(
    State(devices): State<Devices>,
    by: By,
    ApiQuery(params): ApiQuery<ImportParams>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    check_kind(&headers)?;
    let rows = device_csv::read(&body?).map_err(|it| Problem::invalid(it.field, it.rule))?;
    let lines: Vec<u64> = rows.iter().map(|row| row.line).collect();
    let mode = match params.on_existing {
        OnExisting::Refuse => ImportMode::Refuse,
        OnExisting::Skip => ImportMode::Skip,
        OnExisting::Update => ImportMode::Update,
    };
    let (outcomes, written) = devices
        .registry
        .import(&by.actor, by.grant(), rows, mode, params.dry_run)
        .await?;
    if !written && !params.dry_run && outcomes.iter().any(is_refused) {
        return Err(refusal(&lines, &outcomes));
    }
    let wants_csv = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/csv"));
    if wants_csv {
        let text = device_csv::write_credentials(&outcomes)
            .map_err(|error| Problem::server(error.as_ref()))?;
        return Ok(csv_answer("credentials.csv", text));
    }
    Ok(Json(report(&lines, outcomes, written)).into_response())
}

/// The limit on the size of an import.
pub(super) fn body_limit() -> DefaultBodyLimit {
    DefaultBodyLimit::max(BODY_MAX)
}

fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("text/csv")) {
        return Ok(());
    }
    Err(Problem::client(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "/problems/unsupported-media-type",
        "Unsupported media type",
        "send the body as 'Content-Type: text/csv'",
    ))
}

const fn is_refused(outcome: &RowOutcome) -> bool {
    matches!(outcome, RowOutcome::Refused(_))
}

fn refusal(lines: &[u64], outcomes: &[RowOutcome]) -> Problem {
    let refused = outcomes.iter().filter(|it| is_refused(it)).count();
    let detail = format!(
        "{refused} of {} rows are refused; nothing was written",
        lines.len()
    );
    let problem = Problem::client(
        StatusCode::UNPROCESSABLE_ENTITY,
        "/problems/import-refused",
        "Import refused",
        detail,
    );
    lines
        .iter()
        .zip(outcomes)
        .flat_map(|(line, outcome)| {
            let errors = match outcome {
                RowOutcome::Refused(errors) => errors.as_slice(),
                RowOutcome::Added(..) | RowOutcome::Updated(_) | RowOutcome::Unchanged(_) => &[],
            };
            errors.iter().map(move |error| (line, error))
        })
        .take(ERRORS_MAX)
        .fold(problem, |problem, (line, error)| {
            problem.field(format!("/line {line}/{}", error.field), error.rule.as_str())
        })
}

fn report(lines: &[u64], outcomes: Vec<RowOutcome>, written: bool) -> ImportReport {
    let rows: Vec<RowReport> = lines
        .iter()
        .zip(outcomes)
        .map(|(line, outcome)| row_report(*line, outcome))
        .collect();
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    ImportReport {
        written,
        added: count("added"),
        updated: count("updated"),
        unchanged: count("unchanged"),
        refused: count("refused"),
        rows,
    }
}

fn row_report(line: u64, outcome: RowOutcome) -> RowReport {
    let (outcome, id, password, errors) = match outcome {
        RowOutcome::Added(id, password) => ("added", Some(id), password, Vec::new()),
        RowOutcome::Updated(id) => ("updated", Some(id), None, Vec::new()),
        RowOutcome::Unchanged(id) => ("unchanged", Some(id), None, Vec::new()),
        RowOutcome::Refused(errors) => ("refused", None, None, errors),
    };
    let credentials = id
        .as_ref()
        .zip(password)
        .map(|(id, password)| CredentialsBody::new(id, &password));
    let errors = errors.into_iter().map(|error| FieldError {
        pointer: error.field,
        detail: error.rule,
    });
    RowReport {
        line,
        outcome,
        device_id: id.map(String::from),
        credentials,
        errors: errors.collect(),
    }
}

fn csv_answer(name: &str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, text).into_response()
}
