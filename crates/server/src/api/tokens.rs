//! `/tokens`: API tokens, for scripts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use dormouse_core::access::{ApiToken, Grant, Role, TokenId};
use dormouse_core::clock::Timestamp;
use dormouse_core::services::access::{Access, TokenNew};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::By;
use super::users::parse_scope;
use super::{ApiJson, ApiPath, Page, Problem, ProblemBody};

/// The routes.
pub fn router(access: Arc<Access>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
        .with_state(access)
}

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TokenRequest {
    /// What it is called in origins and the audit log: 1 to 64 characters.
    name: String,
    role: Role,
    /// The place the role covers; the whole site where absent.
    #[serde(default)]
    scope: String,
    /// When it ends; never where absent.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A token without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenBody {
    id: i64,
    name: String,
    role: Role,
    /// The place the role covers; empty for the whole site.
    scope: String,
    /// Who made it.
    created_by: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// A new token with its secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
struct TokenMade {
    #[serde(flatten)]
    token: TokenBody,
    /// Goes into `Authorization: Bearer …`.
    secret: String,
}

impl From<ApiToken> for TokenBody {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id.0,
            name: token.name,
            role: token.grant.role,
            scope: token.grant.scope.as_str().to_owned(),
            created_by: token.created_by,
            created_at: token.created_at.to_rfc3339(),
            expires_at: token.expires_at.map(Timestamp::to_rfc3339),
            last_used_at: token.last_used_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// Lists tokens, newest first, without their secrets.
#[utoipa::path(
    get, path = "/tokens", tag = "access",
    responses((status = 200, body = Page<TokenBody>)),
)]
async fn list(State(access): State<Arc<Access>>) -> Result<Json<Page<TokenBody>>, Problem> {
    let tokens = access.tokens().await?;
    Ok(Json(Page {
        items: tokens.into_iter().map(TokenBody::from).collect(),
        next_cursor: None,
    }))
}

/// Makes a token; its secret is shown this once.
#[utoipa::path(
    post, path = "/tokens", tag = "access", request_body = TokenRequest,
    responses(
        (status = 201, body = TokenMade),
        (status = 422, body = ProblemBody),
    ),
)]
async fn create(
    State(access): State<Arc<Access>>,
    by: By,
    ApiJson(request): ApiJson<TokenRequest>,
) -> Result<impl IntoResponse, Problem> {
    let expires_at = request.expires_at.as_deref();
    let expires_at = expires_at
        .map(Timestamp::parse_rfc3339)
        .transpose()
        .map_err(|error| Problem::invalid("/expiresAt", error.to_string()))?;
    let new = TokenNew {
        name: request.name,
        grant: Grant {
            role: request.role,
            scope: parse_scope(&request.scope)?,
        },
        expires_at,
    };
    let (token, secret) = access.make_token(&by.actor, new).await?;
    let body = TokenMade {
        token: token.into(),
        secret: secret.expose().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Takes a token back; it is worth nothing from then on.
#[utoipa::path(
    delete, path = "/tokens/{id}", tag = "access", params(("id" = i64, Path)),
    responses(
        (status = 204),
        (status = 404, body = ProblemBody),
    ),
)]
async fn revoke(
    State(access): State<Arc<Access>>,
    by: By,
    ApiPath(id): ApiPath<i64>,
) -> Result<StatusCode, Problem> {
    access.revoke_token(&by.actor, TokenId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
