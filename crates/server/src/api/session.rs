//! `/session` and `/setup`: signing in and out, and the first start.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use dormouse_core::access::Role;
use dormouse_core::secret::Secret;
use dormouse_core::services::access::{Access, AccessError, Principal, SignIn, SignedIn, Via};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{By, ClientAddress, cookie, no_cookie, session_cookie};
use super::{ApiJson, Problem, ProblemBody};

/// What these routes work with.
#[derive(Debug, Clone)]
pub struct SessionState {
    /// People.
    pub access: Arc<Access>,
    /// Whether cookies are marked `Secure`.
    pub behind_tls: bool,
}

/// The routes.
pub fn router(state: SessionState) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(who_am_i, sign_in, sign_out))
        .routes(routes!(change_password))
        .routes(routes!(needs_setup, setup))
        .with_state(state)
}

/// Name and password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    username: String,
    #[schema(format = Password)]
    password: String,
}

/// The one-time link's secret, and the administrator to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SetupRequest {
    /// The `token` of the link printed at the first start.
    token: String,
    username: String,
    /// 8 characters to 256 bytes.
    #[schema(format = Password)]
    password: String,
}

/// A change of one's own password.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PasswordRequest {
    #[schema(format = Password)]
    current_password: String,
    /// 8 characters to 256 bytes.
    #[schema(format = Password)]
    new_password: String,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionBody {
    /// The person's or token's name.
    username: String,
    role: Role,
    /// The place the role covers; empty for the whole site.
    scope: String,
    /// What changes by cookie repeat in the header `X-CSRF-Token`; absent for tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

impl From<&Principal> for SessionBody {
    fn from(principal: &Principal) -> Self {
        let csrf_token = match &principal.via {
            Via::Session { csrf_token, .. } => Some(csrf_token.clone()),
            Via::Token(_) => None,
        };
        Self {
            username: principal.origin.name().unwrap_or_default().to_owned(),
            role: principal.grant.role,
            scope: principal.grant.scope.as_str().to_owned(),
            csrf_token,
        }
    }
}

/// Whether somebody has to follow the one-time link.
#[derive(Debug, Serialize, ToSchema)]
struct SetupBody {
    /// Nobody can sign in yet.
    needed: bool,
}

/// Says who is signed in.
#[utoipa::path(
    get, path = "/session", tag = "access",
    responses(
        (status = 200, body = SessionBody),
        (status = 401, body = ProblemBody),
    ),
)]
async fn who_am_i(by: By) -> Json<SessionBody> {
    Json(SessionBody::from(&*by.principal))
}

/// Signs in: the answer sets a cookie.
#[utoipa::path(
    post, path = "/session", tag = "access", request_body = SignInRequest, security(()),
    responses(
        (status = 200, body = SessionBody),
        (status = 401, description = "Wrong name or password", body = ProblemBody),
        (status = 422, body = ProblemBody),
        (status = 429, description = "Too many attempts", body = ProblemBody),
    ),
)]
async fn sign_in(
    State(state): State<SessionState>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    ApiJson(request): ApiJson<SignInRequest>,
) -> Result<impl IntoResponse, Problem> {
    let attempt = SignIn {
        name: request.username,
        password: Secret::new(request.password),
        address,
        agent: agent(&headers),
    };
    let signed_in = state.access.sign_in(attempt).await?;
    Ok((StatusCode::OK, begin(&state, &signed_in)))
}

/// Signs out: the session ends at once.
#[utoipa::path(
    delete, path = "/session", tag = "access",
    responses(
        (status = 204),
        (status = 401, body = ProblemBody),
    ),
)]
async fn sign_out(State(state): State<SessionState>, by: By) -> Result<impl IntoResponse, Problem> {
    state.access.sign_out(&by.principal, &by.actor).await?;
    let gone = [(header::SET_COOKIE, no_cookie(state.behind_tls))];
    Ok((StatusCode::NO_CONTENT, AppendHeaders(gone)))
}

/// Changes one's own password and ends one's other sessions.
#[utoipa::path(
    post, path = "/session/password", tag = "access", request_body = PasswordRequest,
    responses(
        (status = 204),
        (status = 401, body = ProblemBody),
        (status = 403, description = "By a token", body = ProblemBody),
        (status = 422, body = ProblemBody),
        (status = 429, body = ProblemBody),
    ),
)]
async fn change_password(
    State(state): State<SessionState>,
    by: By,
    headers: HeaderMap,
    ApiJson(request): ApiJson<PasswordRequest>,
) -> Result<impl IntoResponse, Problem> {
    let Via::Session { .. } = by.principal.via else {
        return Err(super::auth::forbidden());
    };
    let secret = state
        .access
        .change_password(
            &by.principal,
            &by.actor,
            session_cookie(&headers).unwrap_or_default(),
            Secret::new(request.current_password),
            Secret::new(request.new_password),
        )
        .await
        .map_err(|error| match error {
            AccessError::BadCredentials => {
                Problem::invalid("/currentPassword", "is not your password")
            }
            AccessError::Invalid(broken) => Problem::invalid("/newPassword", broken.rule),
            other @ (AccessError::TooManyAttempts { .. }
            | AccessError::BadSetupLink
            | AccessError::SetupDone
            | AccessError::Unknown(_)
            | AccessError::Taken(_)
            | AccessError::Stale
            | AccessError::LastAdmin
            | AccessError::Port(_)) => other.into(),
        })?;
    let next = secret.map(|secret| (header::SET_COOKIE, cookie(&secret, state.behind_tls)));
    Ok((StatusCode::NO_CONTENT, AppendHeaders(next)))
}

/// Says whether somebody has to follow the one-time link.
#[utoipa::path(
    get, path = "/setup", tag = "access", security(()),
    responses((status = 200, body = SetupBody)),
)]
async fn needs_setup(State(state): State<SessionState>) -> Result<Json<SetupBody>, Problem> {
    let needed = state.access.needs_setup().await?;
    Ok(Json(SetupBody { needed }))
}

/// Creates the administrator with the one-time link, and signs them in.
#[utoipa::path(
    post, path = "/setup", tag = "access", request_body = SetupRequest, security(()),
    responses(
        (status = 201, body = SessionBody),
        (status = 403, description = "The link is wrong or used up", body = ProblemBody),
        (status = 409, description = "There is an administrator already", body = ProblemBody),
        (status = 422, body = ProblemBody),
        (status = 429, body = ProblemBody),
    ),
)]
async fn setup(
    State(state): State<SessionState>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    ApiJson(request): ApiJson<SetupRequest>,
) -> Result<impl IntoResponse, Problem> {
    let attempt = SignIn {
        name: request.username,
        password: Secret::new(request.password),
        address,
        agent: agent(&headers),
    };
    let signed_in = state.access.setup(&request.token, attempt).await?;
    Ok((StatusCode::CREATED, begin(&state, &signed_in)))
}

fn begin(state: &SessionState, signed_in: &SignedIn) -> impl IntoResponse + use<> {
    let header = (
        header::SET_COOKIE,
        cookie(&signed_in.cookie, state.behind_tls),
    );
    let body = SessionBody::from(&*signed_in.principal);
    (AppendHeaders([header]), Json(body))
}

fn agent(headers: &HeaderMap) -> String {
    let value = headers.get(header::USER_AGENT);
    let text = value.and_then(|it| it.to_str().ok());
    text.unwrap_or_default().to_owned()
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let text = error.to_string();
        let client = |status, kind, title| Self::client(status, kind, title, text.clone());
        match error {
            AccessError::BadCredentials => client(
                StatusCode::UNAUTHORIZED,
                "/problems/bad-credentials",
                "Wrong name or password",
            ),
            AccessError::TooManyAttempts { retry_after_s } => client(
                StatusCode::TOO_MANY_REQUESTS,
                "/problems/too-many-attempts",
                "Too many attempts",
            )
            .retry_after(retry_after_s),
            AccessError::BadSetupLink => client(
                StatusCode::FORBIDDEN,
                "/problems/bad-setup-link",
                "Wrong or used link",
            ),
            AccessError::SetupDone => client(
                StatusCode::CONFLICT,
                "/problems/setup-done",
                "There is an administrator already",
            ),
            AccessError::Unknown(_) => Self::not_found(text),
            AccessError::Taken(_) => client(
                StatusCode::CONFLICT,
                "/problems/name-taken",
                "The name is taken",
            ),
            AccessError::Invalid(broken) => {
                Self::invalid(format!("/{}", broken.field), broken.rule)
            }
            AccessError::Stale => client(
                StatusCode::PRECONDITION_FAILED,
                "/problems/stale-version",
                "Changed meanwhile",
            ),
            AccessError::LastAdmin => client(
                StatusCode::CONFLICT,
                "/problems/last-administrator",
                "The last administrator stays",
            ),
            AccessError::Port(error) => error.into(),
        }
    }
}
