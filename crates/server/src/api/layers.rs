//! What every request goes through, from the outside in.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Problem;
use super::limits::{ReadLimit, limit_reads};

/// The longest body, in bytes, of routes that set no other.
const BODY_MAX: usize = 1024 * 1024;
/// A request that took longer is worth a warning.
const SLOW: Duration = Duration::from_secs(1);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Only our own scripts run, nobody frames us. Styles may be inline: the
/// page's components bring theirs at run time.
const CONTENT_SECURITY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; \
    frame-ancestors 'none'";

/// Layers for the versioned API alone: inside authentication, which knows the caller.
pub fn inner(router: Router, reads: ReadLimit) -> Router {
    router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(reads, limit_reads))
        .layer(DefaultBodyLimit::max(BODY_MAX))
}

/// Layers for everything that is served. The last one added is the outermost.
pub fn outer(router: Router) -> Router {
    router
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(observe))
        .layer(header_layer(
            header::CONTENT_SECURITY_POLICY,
            CONTENT_SECURITY,
        ))
        .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_layer(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header_layer(header::REFERRER_POLICY, "same-origin"))
}

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

/// The answer to a method that a path does not have.
pub async fn method_not_allowed(method: Method) -> Problem {
    Problem::client(
        StatusCode::METHOD_NOT_ALLOWED,
        "/problems/method-not-allowed",
        "Method not allowed",
        format!("{method} does not work here; the header Allow lists what does"),
    )
}

/// Gives each request an id, a span, a line in the log, and its place in the figures.
async fn observe(request: Request, next: Next) -> Response {
    let id = Uuid::new_v4();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |route| route.as_str().to_owned());
    let caller = tracing::field::Empty;
    let span = tracing::info_span!("request", request_id = %id, %method, path, caller);
    let started = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = started.elapsed();
    let status = response.status();
    let _entered = span.enter();
    log(status, took);
    count(&method, route, status, took);
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn log(status: StatusCode, took: Duration) {
    let duration_ms = took.as_secs_f64() * 1_000.0;
    let status = status.as_u16();
    if status >= 500 {
        tracing::warn!(status, duration_ms, "request failed");
    } else if took >= SLOW && status != StatusCode::SWITCHING_PROTOCOLS {
        tracing::warn!(status, duration_ms, "request was slow");
    } else {
        tracing::debug!(status, duration_ms, "request");
    }
}

fn count(method: &Method, route: String, status: StatusCode, took: Duration) {
    let method = match *method {
        Method::GET | Method::HEAD => "read",
        _ => "write",
    };
    metrics::counter!("dormouse_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status.as_u16().to_string())
    .increment(1);
    metrics::histogram!("dormouse_http_request_seconds", "route" => route, "method" => method)
        .record(took.as_secs_f64());
}

/// The panic itself is reported where it happened, by the panic hook.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Body;
    use axum::routing::get;
    use dormouse_core::clock::ManualClock;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(method: Method, path: &str) -> Response {
        let limit = ReadLimit::new(Arc::new(ManualClock::default()));
        let api = Router::new()
            .route("/api/v1/fine", get(|| async { "x".repeat(10_000) }))
            .route("/api/v1/bug", get(|| async { bug() }))
            .route(
                "/api/v1/body",
                get(|| async {}).post(|body: bytes::Bytes| async move { body.len().to_string() }),
            );
        let router = outer(inner(api, limit));
        let size = if method == Method::POST {
            BODY_MAX + 1
        } else {
            0
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(
                header::ACCEPT_ENCODING,
                if path.ends_with("fine") {
                    "gzip"
                } else {
                    "identity"
                },
            )
            .body(Body::from(vec![b'x'; size]))
            .unwrap();
        router.oneshot(request).await.unwrap()
    }

    fn bug() -> String {
        panic!("a bug")
    }

    async fn problem(response: Response) -> Value {
        let kind = response.headers()[header::CONTENT_TYPE].clone();
        assert_eq!(kind, "application/problem+json");
        let mut response = response;
        let body = std::mem::take(response.body_mut());
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn answers_are_guarded_numbered_and_packed() {
        let response = ask(Method::GET, "/api/v1/fine").await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(headers.contains_key(header::CONTENT_SECURITY_POLICY));
        assert!(Uuid::try_parse(headers[REQUEST_ID].to_str().unwrap()).is_ok());
    }

    #[tokio::test]
    async fn a_bug_is_a_500_that_tells_nothing() {
        let response = ask(Method::GET, "/api/v1/bug").await;
        assert_eq!(response.status(), 500);
        let problem = problem(response).await;
        assert_eq!(problem["type"], "/problems/internal");
        assert_eq!(problem.get("detail"), None);
    }

    #[tokio::test]
    async fn a_wrong_method_is_a_problem_that_lists_the_right_ones() {
        let response = ask(Method::DELETE, "/api/v1/body").await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD,POST");
        assert_eq!(
            problem(response).await["type"],
            "/problems/method-not-allowed"
        );
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused() {
        let response = ask(Method::POST, "/api/v1/body").await;
        assert_eq!(response.status(), 413);
    }
}
