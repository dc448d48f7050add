//! Every failed request leaves as RFC 9457 problem details.

use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dormouse_core::ids::{InvalidDeviceId, InvalidSocketId, InvalidUuid};
use dormouse_core::ports::PortError;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What a problem document is sent as.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// A failed request; boxed, since it travels in the error half of results.
#[derive(Debug)]
pub struct Problem(Box<ProblemBody>);

/// A failed request, as the client sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Stable identifier of the kind of problem: what a client may branch on.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The same for every occurrence of this kind.
    title: &'static str,
    /// The HTTP status, repeated for whoever only sees the body.
    status: u16,
    /// What went wrong this time, for a person; absent from 5xx responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The fields that broke a rule, where there are such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Members of this kind of problem alone, such as the pending command.
    #[serde(flatten)]
    extra: Map<String, Value>,
    #[serde(skip)]
    retry_after_s: Option<u64>,
}

/// One field that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or the parameter's name.
    pub pointer: String,
    /// The rule it broke.
    pub detail: String,
}

impl Problem {
    /// A problem of the client's making.
    #[must_use]
    pub fn client(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(ProblemBody {
            kind,
            title,
            status: status.as_u16(),
            detail: Some(detail.into()),
            errors: Vec::new(),
            extra: Map::new(),
            retry_after_s: None,
        }))
    }

    /// A 422 that names the field at `pointer` and the rule it broke.
    #[must_use]
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        };
        let detail = format!(
            "{}: {}",
            error.pointer.trim_start_matches('/'),
            error.detail
        );
        let mut problem = Self::client(
            StatusCode::UNPROCESSABLE_ENTITY,
            "/problems/invalid-request",
            "Invalid request",
            detail,
        );
        problem.0.errors.push(error);
        problem
    }

    /// A 404 for a `thing` such as "device".
    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::client(
            StatusCode::NOT_FOUND,
            "/problems/not-found",
            "Not found",
            detail,
        )
    }

    /// A failure of ours: the cause is logged once, here; the client gets none of it.
    #[must_use]
    pub fn server(cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = cause, "request failed");
        Self::internal()
    }

    /// A failure of ours whose cause is known elsewhere.
    #[must_use]
    pub fn internal() -> Self {
        Self::silent(
            StatusCode::INTERNAL_SERVER_ERROR,
            "/problems/internal",
            "Internal error",
        )
    }

    /// A backend that is down or too slow. Its going down is logged where it is
    /// watched, not with each request.
    #[must_use]
    pub fn unavailable(cause: &(dyn Error + 'static)) -> Self {
        tracing::debug!(error = cause, "backend unavailable");
        Self::silent(
            StatusCode::SERVICE_UNAVAILABLE,
            "/problems/unavailable",
            "Backend unavailable",
        )
    }

    fn silent(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        let mut problem = Self::client(status, kind, title, "");
        problem.0.detail = None;
        problem
    }

    /// Adds a field that broke a rule.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.0.errors.push(FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        });
        self
    }

    /// Adds a member of this kind of problem alone.
    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.0.extra.insert(member.to_owned(), value);
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after_s;
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        match &error {
            PortError::Unavailable(_) => Self::unavailable(&error),
            PortError::Corrupt(_) | PortError::Refused(_) => Self::server(&error),
        }
    }
}

impl From<InvalidDeviceId> for Problem {
    fn from(error: InvalidDeviceId) -> Self {
        Self::invalid("deviceId", error.to_string())
    }
}

impl From<InvalidSocketId> for Problem {
    fn from(error: InvalidSocketId) -> Self {
        Self::invalid("socketId", error.to_string())
    }
}

impl From<InvalidUuid> for Problem {
    fn from(error: InvalidUuid) -> Self {
        Self::invalid("id", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Every `/problems/NAME` in the files under `path`.
    fn kinds_in(path: &Path, found: &mut BTreeSet<String>) {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                kinds_in(&entry.unwrap().path(), found);
            }
            return;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for tail in text.split("/problems/").skip(1) {
            let is_name = |c: &char| c.is_ascii_lowercase() || *c == '-';
            let name: String = tail.chars().take_while(is_name).collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_kind_of_problem_is_described_and_every_description_is_of_one() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut told, mut described) = (BTreeSet::new(), BTreeSet::new());
        kinds_in(&root.join("src"), &mut told);
        kinds_in(&root.join("../../docs/api.md"), &mut described);
        assert_eq!(told, described);
    }
}
