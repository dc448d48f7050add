//! Equal expensive reads share one execution and one body.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;

use super::Problem;
use crate::single_flight::SingleFlight;

/// The largest answer that is held to be shared, in bytes; what these routes
/// answer stays far below.
const BODY_MAX: usize = 64 * 1024 * 1024;

type Answer = (StatusCode, HeaderMap, Bytes);
type Flights = Arc<SingleFlight<String, Option<Answer>>>;

/// Lets equal reads of `router` that run at the same time share one execution.
///
/// Only for routes whose answer depends on the address alone, once the caller
/// has been let through; exports, which stream, are not held.
pub fn share(router: OpenApiRouter) -> OpenApiRouter {
    router.layer(from_fn_with_state(Flights::default(), join))
}

async fn join(State(flights): State<Flights>, request: Request, next: Next) -> Response {
    let is_export = request.uri().path().ends_with(".csv");
    if *request.method() != Method::GET || is_export {
        return next.run(request).await;
    }
    let address = request.uri().to_string();
    let answer = flights.run(address, async move { hold(next.run(request).await).await });
    match answer.await {
        Some((status, headers, body)) => (status, headers, body).into_response(),
        None => Problem::internal().into_response(),
    }
}

async fn hold(response: Response<Body>) -> Option<Answer> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_MAX).await.ok()?;
    Some((parts.status, parts.headers, body))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn equal_reads_at_the_same_time_are_executed_once() {
        let (count, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (counted, released) = (Arc::clone(&count), Arc::clone(&go));
        let handler = move || {
            let (count, go) = (Arc::clone(&counted), Arc::clone(&released));
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                ([("etag", "7")], "points")
            }
        };
        let router = OpenApiRouter::new().route("/history", get(handler));
        let (router, _) = share(router).split_for_parts();
        let ask = |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request)
        };
        let release = async {
            while count.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            go.notify_waiters();
        };
        let (a, b, other, ()) = tokio::join!(
            ask("/history?from=1"),
            ask("/history?from=1"),
            ask("/history?from=2"),
            release
        );
        assert_eq!(count.load(Ordering::Relaxed), 2);
        for response in [a.unwrap(), b.unwrap(), other.unwrap()] {
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["etag"], "7");
            let body = to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, "points");
        }
    }
}
