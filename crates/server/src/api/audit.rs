//! `/audit`: who changed what, when, and from where.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::audit::AuditEntry;
use dormouse_core::clock::Timestamp;
use dormouse_core::event::Origin;
use dormouse_core::ports::AuditQuery;
use dormouse_core::services::audit::AuditLog;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{ApiQuery, Page, Problem, ProblemBody, decode_cursor, encode_cursor, page_size};

/// The routes.
pub fn router(audit: Arc<AuditLog>) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(list)).with_state(audit)
}

/// Which entries; every parameter narrows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditParams {
    /// Only of the person or token with this name.
    actor: Option<String>,
    /// Only this action, such as `device.edit`, or a group, such as `device`.
    action: Option<String>,
    /// Only to this target, such as `device:A-302-strip01`.
    target: Option<String>,
    /// Not before this moment.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Before this moment.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Entries on a page, 1 to 500.
    limit: Option<u32>,
}

/// One entry.
#[derive(Debug, Serialize, ToSchema)]
struct AuditBody {
    id: Uuid,
    #[schema(format = DateTime)]
    ts: String,
    /// Who.
    origin: Origin,
    /// From which address.
    address: Option<String>,
    /// What, such as `device.edit`.
    action: String,
    /// To what, such as `device:A-302-strip01`.
    target: String,
    /// Details.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

impl From<AuditEntry> for AuditBody {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            ts: entry.ts.to_rfc3339(),
            address: entry.actor.address.map(|it| it.to_string()),
            origin: entry.actor.origin,
            action: entry.action.into_owned(),
            target: entry.target,
            data: entry.data,
        }
    }
}

/// Lists the audit log, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "access", params(AuditParams),
    responses(
        (status = 200, body = Page<AuditBody>),
        (status = 422, body = ProblemBody),
    ),
)]
async fn list(
    State(audit): State<Arc<AuditLog>>,
    ApiQuery(params): ApiQuery<AuditParams>,
) -> Result<Json<Page<AuditBody>>, Problem> {
    let limit = usize::try_from(page_size(params.limit)?).unwrap_or(usize::MAX);
    let before = params.cursor.as_deref().map(decode_cursor).transpose()?;
    let (from, to) = (moment("from", params.from)?, moment("to", params.to)?);
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::invalid("from", "must not be after 'to'"));
    }
    let query = AuditQuery {
        actor: params.actor,
        action: params.action,
        target: params.target,
        from,
        to,
        before,
        limit: limit + 1,
    };
    let mut entries = audit.query(query).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| more);
    Ok(Json(Page {
        next_cursor: last.map(|entry| encode_cursor(&entry.id)),
        items: entries.into_iter().map(AuditBody::from).collect(),
    }))
}

fn moment(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    text.map(|text| Timestamp::parse_rfc3339(&text))
        .transpose()
        .map_err(|error| Problem::invalid(name, error.to_string()))
}
