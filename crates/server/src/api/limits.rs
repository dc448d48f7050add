//! Read limits: 20 a second per caller, 40 at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dormouse_core::bucket::{Bucket, Rate};
use dormouse_core::clock::Clock;

use super::auth::By;
use super::{Caller, Problem};

/// Reads of one caller.
const READS: Rate = Rate {
    per_second: 20,
    burst: 40,
};
/// Callers remembered at once. Beyond it those who have been quiet are
/// forgotten, and where nobody has, new ones are taken unlimited: signing in
/// is limited elsewhere, so that nobody has so many sessions.
const CALLERS_MAX: usize = 10_000;

/// What the limit remembers. Cheap to clone.
#[derive(Clone)]
pub struct ReadLimit {
    clock: Arc<dyn Clock>,
    callers: Arc<Mutex<HashMap<Arc<str>, Bucket>>>,
}

impl ReadLimit {
    /// A limit that has seen nobody.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            callers: Arc::default(),
        }
    }

    fn admit(&self, caller: Arc<str>) -> Result<(), Duration> {
        let now = self.clock.instant();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX && !callers.contains_key(&caller) {
            callers.retain(|_, bucket| !bucket.is_full(now));
            if callers.len() >= CALLERS_MAX {
                return Ok(());
            }
        }
        let bucket = callers.entry(caller);
        bucket.or_insert_with(|| Bucket::full(now)).take(READS, now)
    }
}

impl std::fmt::Debug for ReadLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadLimit").finish_non_exhaustive()
    }
}

/// Lets reads pass at their rate; what changes something has limits of its own.
pub async fn limit_reads(State(limit): State<ReadLimit>, request: Request, next: Next) -> Response {
    let caller = caller(&request);
    tracing::Span::current().record("caller", &*caller);
    if matches!(*request.method(), Method::GET | Method::HEAD)
        && let Err(wait) = limit.admit(caller)
    {
        return too_many_reads(wait).into_response();
    }
    next.run(request).await
}

fn caller(request: &Request) -> Arc<str> {
    let extensions = request.extensions();
    if let Some(by) = extensions.get::<By>() {
        return by.session_key();
    }
    if let Some(caller) = extensions.get::<Caller>() {
        return Arc::clone(&caller.key);
    }
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(
        || "stranger".into(),
        |ConnectInfo(address)| address.ip().to_string().into(),
    )
}

fn too_many_reads(wait: Duration) -> Problem {
    Problem::client(
        StatusCode::TOO_MANY_REQUESTS,
        "/problems/too-many-reads",
        "Too many reads",
        "at most 20 reads a second, 40 at once; changes come faster on /api/v1/live",
    )
    .retry_after(wait.as_secs() + 1)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::header;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use dormouse_core::access::Role;
    use dormouse_core::clock::ManualClock;
    use dormouse_core::event::Origin;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(router: &Router, method: Method, key: &str) -> Response {
        let mut request = Request::builder()
            .method(method)
            .uri("/x")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(Caller {
            origin: Origin::Server,
            role: Role::Viewer,
            key: key.into(),
        });
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn each_browser_of_a_person_has_a_limit_of_its_own() {
        let site = crate::api::testing::Site::new().await;
        site.person("ann", Role::Viewer).await;
        let clock = Arc::new(ManualClock::default());
        let limit = ReadLimit::new(clock);
        let sign_in = async || {
            let attempt = dormouse_core::services::access::SignIn {
                name: "ann".to_owned(),
                password: dormouse_core::secret::Secret::new(crate::api::testing::PASSWORD),
                address: None,
                agent: String::new(),
            };
            let principal = site.access.sign_in(attempt).await.unwrap().principal;
            let origin = principal.origin.clone();
            let actor = dormouse_core::access::Actor {
                origin,
                address: None,
            };
            By { principal, actor }.session_key()
        };
        let (one, two) = (sign_in().await, sign_in().await);
        while limit.admit(Arc::clone(&one)).is_ok() {}
        assert!(limit.admit(two).is_ok());
    }

    #[tokio::test]
    async fn whoever_refreshes_madly_is_told_to_wait_and_nobody_else_is() {
        let clock = Arc::new(ManualClock::default());
        let limit = ReadLimit::new(clock.clone());
        let router = Router::new()
            .route("/x", get(|| async {}).post(|| async {}))
            .layer(from_fn_with_state(limit, limit_reads));
        for _ in 0..40 {
            assert_eq!(ask(&router, Method::GET, "mad").await.status(), 200);
        }
        let refused = ask(&router, Method::GET, "mad").await;
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
        assert_eq!(ask(&router, Method::POST, "mad").await.status(), 200);
        assert_eq!(ask(&router, Method::GET, "calm").await.status(), 200);
        clock.advance(Duration::from_millis(50));
        assert_eq!(ask(&router, Method::GET, "mad").await.status(), 200);
        assert_eq!(ask(&router, Method::GET, "mad").await.status(), 429);
    }

    #[test]
    fn the_memory_of_callers_is_bounded() {
        let clock = Arc::new(ManualClock::default());
        let limit = ReadLimit::new(clock.clone());
        for n in 0..CALLERS_MAX + 10 {
            limit.admit(n.to_string().into()).unwrap();
        }
        assert_eq!(limit.callers.lock().unwrap().len(), CALLERS_MAX);
        clock.advance(Duration::from_secs(3));
        limit.admit("new".into()).unwrap();
        assert_eq!(limit.callers.lock().unwrap().len(), 1);
    }
}
