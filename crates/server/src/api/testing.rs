//! A site in memory behind the whole of the people and device routes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use dormouse_core::access::{Actor, Grant, Role, Scope};
use dormouse_core::clock::{ManualClock, Timestamp};
use dormouse_core::ids::{DeviceId, DeviceKey};
use dormouse_core::memory::{
    MemoryAudit, MemoryDevices, MemorySettings, MemoryTokens, MemoryUsers,
};
use dormouse_core::ports::hot::Latest;
use dormouse_core::ports::{DeviceView, EnrolSink, KickReason, SessionControl};
use dormouse_core::presence::Presence;
use dormouse_core::services::access::{Access, AccessParts, PersonNew, TokenNew};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::registry::{JoinMode, Registry, RegistryParts};
use dormouse_core::wire::EnrolBody;
use serde_json::Value;
use tower::ServiceExt;

use super::auth::{Auth, protect};
use super::devices::Devices;
use super::session::SessionState;
use super::{audit, compose, devices, enrolment, session, tokens, users};
use crate::password::Argon2Hasher;

/// The password of everybody that [`Site::person`] adds.
pub(crate) const PASSWORD: &str = "correct horse";

/// Remembers whose sessions were closed, and what was handed over to whom.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) kicked: Mutex<Vec<(DeviceId, KickReason)>>,
    pub(crate) listening: Mutex<bool>,
    pub(crate) handed_over: Mutex<Vec<EnrolBody>>,
}

impl SessionControl for Broker {
    fn kick(&self, device: &DeviceId, reason: KickReason) {
        self.kicked.lock().unwrap().push((device.clone(), reason));
    }
}

impl EnrolSink for Broker {
    fn hand_over(&self, _device: &DeviceId, credentials: &EnrolBody) -> bool {
        let listening = *self.listening.lock().unwrap();
        if listening {
            self.handed_over.lock().unwrap().push(credentials.clone());
        }
        listening
    }
}

struct NothingKnown;

#[async_trait]
impl DeviceView for NothingKnown {
    fn presence(&self, _device: DeviceKey) -> Presence {
        Presence::NEVER
    }

    async fn latest(&self, _devices: &[DeviceKey]) -> Vec<Vec<Latest>> {
        Vec::new()
    }

    async fn energy_today_wh(&self, _devices: &[DeviceKey]) -> Vec<Option<f64>> {
        Vec::new()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The JSON body, if the status is `status`.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|_| Value::String(self.text.clone()))
    }

    /// Checks that it is a problem document, and which; returns it.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, kind: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(body["type"], format!("/problems/{kind}"), "{}", self.text);
        body
    }

    /// Checks that it is a 422 that names `pointer`.
    #[track_caller]
    pub(crate) fn expect_invalid(&self, pointer: &str) {
        let body = self.expect_problem(422, "invalid-request");
        assert_eq!(body["errors"][0]["pointer"], pointer, "{}", self.text);
    }
}

/// The site.
pub(crate) struct Site {
    pub(crate) router: Router,
    pub(crate) registry: Arc<Registry>,
    pub(crate) access: Arc<Access>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) broker: Arc<Broker>,
    /// The secret of an administrator's token.
    pub(crate) token: String,
}

impl Site {
    /// An empty site, with an administrator's token.
    #[expect(clippy::too_many_lines, reason = "one list of everything")]
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_323_045_000)));
        let log = Arc::new(AuditLog::new(
            Arc::new(MemoryAudit::default()),
            clock.clone(),
        ));
        let broker = Arc::new(Broker::default());
        let registry = Registry::load(RegistryParts {
            store: Arc::new(MemoryDevices::default()),
            settings: Arc::new(MemorySettings::default()),
            audit: log.clone(),
            sessions: broker.clone(),
            enrol: broker.clone(),
            watchers: Vec::new(),
            clock: clock.clone(),
            join_mode: JoinMode::Approve,
            pending_max: 3,
        });
        let registry = Arc::new(registry.await.unwrap());
        let people = MemoryUsers::default();
        let access = Arc::new(Access::new(AccessParts {
            sessions: Arc::new(people.sessions()),
            users: Arc::new(people),
            tokens: Arc::new(MemoryTokens::default()),
            hasher: Arc::new(Argon2Hasher::with_cost(64, 1).unwrap()),
            audit: log.clone(),
            clock: clock.clone(),
        }));
        let devices = Devices {
            registry: registry.clone(),
            view: Arc::new(NothingKnown),
        };
        let session = SessionState {
            access: access.clone(),
            behind_tls: false,
        };
        let (router, _) = compose(
            [],
            [
                devices::router(devices.clone()),
                enrolment::router(devices),
                session::router(session),
                users::router(access.clone()),
                tokens::router(access.clone()),
                audit::router(log),
            ],
        );
        let auth = Auth {
            access: access.clone(),
            registry: registry.clone(),
            behind_tls: false,
        };
        let mut site = Self {
            router: protect(router, auth),
            registry,
            access,
            clock,
            broker,
            token: String::new(),
        };
        site.token = site.token_of(Role::Admin, "").await;
        site
    }

    /// A new token's secret.
    pub(crate) async fn token_of(&self, role: Role, scope: &str) -> String {
        let new = TokenNew {
            name: "script".to_owned(),
            grant: Grant {
                role,
                scope: Scope::parse(scope).unwrap(),
            },
            expires_at: None,
        };
        let made = self.access.make_token(&Actor::server(), new).await;
        made.unwrap().1.expose().to_owned()
    }

    /// Adds a person with [`PASSWORD`].
    pub(crate) async fn person(&self, name: &str, role: Role) {
        let new = PersonNew {
            name: name.to_owned(),
            password: dormouse_core::secret::Secret::new(PASSWORD),
            grant: Grant {
                role,
                scope: Scope::site(),
            },
        };
        self.access.add_person(&Actor::server(), new).await.unwrap();
    }

    /// A request with `headers` and a body, JSON unless a header says otherwise.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"));
        let has_kind = headers.iter().any(|(name, _)| *name == "content-type");
        if !body.is_empty() && !has_kind {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer {
            status,
            headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// A request as the bearer of `token`.
    pub(crate) async fn send_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let headers = [("authorization", bearer.as_str())];
        self.send(method, path, &headers, body).await
    }

    /// A request without a body, as the administrator.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send_as(&self.token, Method::GET, path, Value::Null)
            .await
    }

    /// A POST as the administrator.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send_as(&self.token, Method::POST, path, body).await
    }

    /// A PATCH as the administrator.
    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send_as(&self.token, Method::PATCH, path, body).await
    }

    /// A DELETE as the administrator.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send_as(&self.token, Method::DELETE, path, Value::Null)
            .await
    }
}
