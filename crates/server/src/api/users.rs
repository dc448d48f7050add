//! `/users`: people and their sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use dormouse_core::access::{Grant, Role, Scope, Session, User};
use dormouse_core::clock::Timestamp;
use dormouse_core::secret::Secret;
use dormouse_core::services::access::{Access, PersonEdit, PersonNew};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::By;
use super::etag::{IfMatch, etag};
use super::{ApiJson, ApiPath, Page, Problem, ProblemBody};

/// The routes.
pub fn router(access: Arc<Access>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(show, edit, remove))
        .routes(routes!(sessions, end_sessions))
        .with_state(access)
}

/// A person to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserNew {
    /// 1 to 64 characters; unique whatever its case.
    username: String,
    /// 8 characters to 256 bytes.
    #[schema(format = Password)]
    password: String,
    role: Role,
    /// The place the role covers; the whole site where absent.
    #[serde(default)]
    scope: String,
}

/// An edit of a person; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserEdit {
    role: Option<Role>,
    /// The place the role covers; empty for the whole site.
    scope: Option<String>,
    /// A new password; ends the person's sessions.
    #[schema(format = Password)]
    password: Option<String>,
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserBody {
    username: String,
    role: Role,
    /// The place the role covers; empty for the whole site.
    scope: String,
    /// Rises with each edit; the ETag.
    version: u32,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_sign_in_at: Option<String>,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            username: user.name,
            role: user.grant.role,
            scope: user.grant.scope.as_str().to_owned(),
            version: user.version,
            created_at: user.created_at.to_rfc3339(),
            last_sign_in_at: user.last_sign_in_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// A signed-in browser.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserSessionBody {
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: String,
    /// The address it signed in from.
    address: Option<String>,
    /// What the browser calls itself.
    agent: String,
}

impl From<Session> for UserSessionBody {
    fn from(session: Session) -> Self {
        Self {
            created_at: session.created_at.to_rfc3339(),
            last_used_at: session.last_used_at.to_rfc3339(),
            address: session.address.map(|it| it.to_string()),
            agent: session.agent,
        }
    }
}

pub(super) fn parse_scope(scope: &str) -> Result<Scope, Problem> {
    Scope::parse(scope).map_err(|error| Problem::invalid("/scope", error.to_string()))
}

/// Lists people, in order of their names.
#[utoipa::path(
    get, path = "/users", tag = "access",
    responses((status = 200, body = Page<UserBody>)),
)]
async fn list(State(access): State<Arc<Access>>) -> Result<Json<Page<UserBody>>, Problem> {
    let people = access.people().await?;
    Ok(Json(Page {
        items: people.into_iter().map(UserBody::from).collect(),
        next_cursor: None,
    }))
}

/// Adds a person.
#[utoipa::path(
    post, path = "/users", tag = "access", request_body = UserNew,
    responses(
        (status = 201, body = UserBody),
        (status = 409, description = "The name is taken", body = ProblemBody),
        (status = 422, body = ProblemBody),
    ),
)]
async fn add(
    State(access): State<Arc<Access>>,
    by: By,
    ApiJson(request): ApiJson<UserNew>,
) -> Result<impl IntoResponse, Problem> {
    let new = PersonNew {
        name: request.username,
        password: Secret::new(request.password),
        grant: Grant {
            role: request.role,
            scope: parse_scope(&request.scope)?,
        },
    };
    let user = access.add_person(&by.actor, new).await?;
    Ok((
        StatusCode::CREATED,
        [etag(user.version)],
        Json(UserBody::from(user)),
    ))
}

/// Shows a person.
#[utoipa::path(
    get, path = "/users/{username}", tag = "access", params(("username" = String, Path)),
    responses(
        (status = 200, body = UserBody),
        (status = 404, body = ProblemBody),
    ),
)]
async fn show(
    State(access): State<Arc<Access>>,
    ApiPath(name): ApiPath<String>,
) -> Result<impl IntoResponse, Problem> {
    let user = access.person(&name).await?;
    Ok(([etag(user.version)], Json(UserBody::from(user))))
}

/// Edits a person's role, scope or password.
#[utoipa::path(
    patch, path = "/users/{username}", tag = "access", params(("username" = String, Path)),
    request_body = UserEdit,
    responses(
        (status = 200, body = UserBody),
        (status = 404, body = ProblemBody),
        (status = 409, description = "The last administrator stays", body = ProblemBody),
        (status = 412, body = ProblemBody),
        (status = 422, body = ProblemBody),
    ),
)]
async fn edit(
    State(access): State<Arc<Access>>,
    by: By,
    ApiPath(name): ApiPath<String>,
    IfMatch(version): IfMatch,
    ApiJson(request): ApiJson<UserEdit>,
) -> Result<impl IntoResponse, Problem> {
    let edit = PersonEdit {
        role: request.role,
        scope: request.scope.as_deref().map(parse_scope).transpose()?,
        password: request.password.map(Secret::new),
    };
    let user = access.edit_person(&by.actor, &name, version, edit).await?;
    Ok(([etag(user.version)], Json(UserBody::from(user))))
}

/// Removes a person and ends their sessions.
#[utoipa::path(
    delete, path = "/users/{username}", tag = "access", params(("username" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = ProblemBody),
        (status = 409, description = "The last administrator stays", body = ProblemBody),
    ),
)]
async fn remove(
    State(access): State<Arc<Access>>,
    by: By,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, Problem> {
    access.remove_person(&by.actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists a person's sessions, newest first.
#[utoipa::path(
    get, path = "/users/{username}/sessions", tag = "access",
    params(("username" = String, Path)),
    responses(
        (status = 200, body = Page<UserSessionBody>),
        (status = 404, body = ProblemBody),
    ),
)]
async fn sessions(
    State(access): State<Arc<Access>>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Page<UserSessionBody>>, Problem> {
    let sessions = access.sessions_of(&name).await?;
    Ok(Json(Page {
        items: sessions.into_iter().map(UserSessionBody::from).collect(),
        next_cursor: None,
    }))
}

/// Ends all sessions of a person.
#[utoipa::path(
    delete, path = "/users/{username}/sessions", tag = "access",
    params(("username" = String, Path)),
    responses(
        (status = 204),
        (status = 404, body = ProblemBody),
    ),
)]
async fn end_sessions(
    State(access): State<Arc<Access>>,
    by: By,
    ApiPath(name): ApiPath<String>,
) -> Result<StatusCode, Problem> {
    access.end_sessions(&by.actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
