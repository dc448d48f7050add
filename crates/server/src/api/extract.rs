//! Extractors whose rejections are problem documents that name the field.

use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use dormouse_core::access::Role;
use dormouse_core::event::Origin;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use utoipa::ToSchema;

use super::error::Problem;

/// The most items on one page.
pub const PAGE_MAX: u32 = 500;
/// The items on one page where the request does not say.
pub const PAGE_DEFAULT: u32 = 100;

/// Who is calling; put into the request by the authentication layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The person or token, as changes will name it.
    pub origin: Origin,
    /// What they are.
    pub role: Role,
    /// A stable key of this caller, for limits and idempotency.
    pub key: Arc<str>,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::client(
                StatusCode::UNAUTHORIZED,
                "/problems/unauthenticated",
                "Sign-in needed",
                "sign in, or send an API token as 'Authorization: Bearer …'",
            )
        })
    }
}

/// A JSON body. Unknown fields and wrong types are 422 with the field named.
#[derive(Debug, Clone, Copy)]
pub struct ApiJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let kind = value.split(';').next().unwrap_or_default().trim();
                kind.eq_ignore_ascii_case("application/json")
            });
        if !is_json {
            return Err(Problem::client(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "/problems/unsupported-media-type",
                "Unsupported media type",
                "send the body as 'Content-Type: application/json'",
            ));
        }
        let body = Bytes::from_request(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// No body at all is `None`.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.headers().contains_key(header::CONTENT_TYPE) {
            let body = <Self as FromRequest<S>>::from_request(request, state).await?;
            Ok(Some(body))
        } else {
            Ok(None)
        }
    }
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        // An enum given as a number counts as bad syntax there, not here.
        if inner.is_data() || is_json(body) {
            let pointer = match path.as_str() {
                "." => String::new(),
                path => format!("/{}", path.replace('.', "/")),
            };
            let message = inner.to_string();
            let missing = message
                .strip_prefix("missing field `")
                .and_then(|rest| rest.split('`').next());
            match missing {
                Some(name) => Problem::invalid(format!("{pointer}/{name}"), "is missing"),
                None => Problem::invalid(pointer, message),
            }
        } else {
            malformed(&inner)
        }
    })?;
    json.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::client(
        StatusCode::BAD_REQUEST,
        "/problems/malformed-json",
        "Malformed JSON",
        error.to_string(),
    )
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::client(
                StatusCode::PAYLOAD_TOO_LARGE,
                "/problems/body-too-large",
                "Body too large",
                rejection.body_text(),
            ),
            status => Self::client(
                status,
                "/problems/unreadable-body",
                "Unreadable body",
                rejection.body_text(),
            ),
        }
    }
}

/// Path parameters.
#[derive(Debug, Clone, Copy)]
pub struct ApiPath<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::client(
            rejection.status(),
            "/problems/invalid-path",
            "Invalid path",
            rejection.body_text(),
        )
    }
}

/// Query parameters.
#[derive(Debug, Clone, Copy)]
pub struct ApiQuery<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        let text = rejection.body_text();
        let detail = text
            .strip_prefix("Failed to deserialize query string: ")
            .unwrap_or(&text);
        let (parameter, rule) = detail.split_once(": ").unwrap_or(("query", detail));
        Self::invalid(parameter, rule)
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// Writes where the next page starts; opaque to clients.
pub fn encode_cursor(position: &impl Serialize) -> String {
    let json = serde_json::to_vec(position).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

/// Reads a cursor back.
///
/// # Errors
/// When it is not one of ours.
pub fn decode_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .ok_or_else(|| Problem::invalid("cursor", "not a cursor that this list gave out"))
}

/// Checks a page size.
///
/// # Errors
/// When it is not 1 to [`PAGE_MAX`].
pub fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        size @ 1..=PAGE_MAX => Ok(size),
        _ => Err(Problem::invalid(
            "limit",
            format!("must be 1 to {PAGE_MAX}"),
        )),
    }
}
