//! The layer in front of the API: who is calling, and may they.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use dormouse_core::access::{Actor, Grant};
use dormouse_core::ids::DeviceId;
use dormouse_core::secret::Secret;
use dormouse_core::services::access::{Access, Principal, SESSION_MAX, Via};
use dormouse_core::services::registry::Registry;

use super::policy::{PROBES, Place, is_open, requirement};
use super::{Caller, Problem};

/// The cookie that holds a session's secret.
const COOKIE: &str = "dormouse_session";
/// The header in which unsafe requests by cookie repeat the session's token.
const CSRF_HEADER: &str = "x-csrf-token";
/// What the layer guards.
const PREFIX: &str = "/api/v1/";

/// What the layer works with.
#[derive(Debug, Clone)]
pub struct Auth {
    /// People, sessions, tokens.
    pub access: Arc<Access>,
    /// Devices, for where they are.
    pub registry: Arc<Registry>,
    /// Whether a proxy in front speaks HTTPS: cookies are marked `Secure`, and
    /// the proxy's word on the caller's address is taken.
    pub behind_tls: bool,
}

/// Puts the layer in front of every route of `router`. Below `/api/v1/` only
/// signing in works without it; elsewhere it says who calls and lets all pass.
pub fn protect(router: Router, auth: Auth) -> Router {
    router.layer(from_fn_with_state(auth, guard))
}

/// Who is calling, for changes and the audit log.
#[derive(Debug, Clone)]
pub struct By {
    /// Who, and what they may do.
    pub principal: Arc<Principal>,
    /// Who, and from where.
    pub actor: Actor,
}

impl By {
    /// What the caller may do, and where.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.principal.grant
    }

    /// A key of this very session or token: what is limited for one browser
    /// is not limited for the person's others.
    #[must_use]
    pub fn session_key(&self) -> Arc<str> {
        match &self.principal.via {
            Via::Session { session, .. } => format!("session:{}", session.0).into(),
            Via::Token(_) => Arc::clone(&self.principal.key),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(unknown)
    }
}

/// The address a request comes from, where it is known.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let known = parts.extensions.get::<Self>().copied();
        Ok(known.unwrap_or(Self(None)))
    }
}

async fn guard(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    admit(&auth, request, next).await.unwrap_or_else(challenge)
}

async fn admit(auth: &Auth, mut request: Request, next: Next) -> Result<Response, Problem> {
    let address = client_address(&request, auth.behind_tls);
    request.extensions_mut().insert(ClientAddress(address));
    let path = request.uri().path().to_owned();
    let guarded = path.strip_prefix(PREFIX);
    let is_open = match guarded {
        Some(path) => is_open(request.method(), path),
        // They answer whether or not the database can tell who asks.
        None => PROBES.contains(&path.as_str()),
    };
    if is_open {
        return Ok(next.run(request).await);
    }
    let Some((principal, next_cookie)) = identify(&auth.access, request.headers()).await? else {
        return match guarded {
            Some(_) => Err(unknown()),
            None => Ok(next.run(request).await),
        };
    };
    if let Some(path) = guarded {
        check_forgery(&principal, &request)?;
        check_policy(&auth.registry, &principal, request.method(), path)?;
    }
    let by = By {
        actor: Actor {
            origin: principal.origin.clone(),
            address,
        },
        principal: principal.clone(),
    };
    request.extensions_mut().insert(by);
    request.extensions_mut().insert(Caller {
        origin: principal.origin.clone(),
        role: principal.grant.role,
        key: principal.key.clone(),
    });
    let mut response = next.run(request).await;
    if let Some(secret) = next_cookie {
        let headers = response.headers_mut();
        if !headers.contains_key(header::SET_COOKIE) {
            headers.insert(header::SET_COOKIE, cookie(&secret, auth.behind_tls));
        }
    }
    Ok(response)
}

/// Who the request's token or cookie belongs to. A bad token is refused even
/// where a good cookie is beside it.
async fn identify(
    access: &Access,
    headers: &HeaderMap,
) -> Result<Option<(Arc<Principal>, Option<Secret>)>, Problem> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let principal = match token {
            Some(token) => access.by_token(token).await?,
            None => None,
        };
        return match principal {
            Some(principal) => Ok(Some((principal, None))),
            None => Err(unknown()),
        };
    }
    match session_cookie(headers) {
        Some(cookie) => Ok(access.by_cookie(cookie).await?),
        None => Ok(None),
    }
}

/// Requests by cookie must come from our own page: changes repeat the
/// session's token, and a WebSocket names our own host as its origin.
fn check_forgery(principal: &Principal, request: &Request) -> Result<(), Problem> {
    let Via::Session { csrf_token, .. } = &principal.via else {
        return Ok(());
    };
    let headers = request.headers();
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let sent = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes);
    if !safe && !sent.is_some_and(|sent| Secret::new(csrf_token.as_str()).matches(sent)) {
        return Err(Problem::client(
            StatusCode::FORBIDDEN,
            "/problems/csrf",
            "Forged request",
            "changes by cookie repeat the session's csrfToken in the header X-CSRF-Token",
        ));
    }
    if headers.contains_key(header::UPGRADE) && !is_same_origin(headers) {
        return Err(Problem::client(
            StatusCode::FORBIDDEN,
            "/problems/csrf",
            "Forged request",
            "the Origin of a WebSocket by cookie must be this host",
        ));
    }
    Ok(())
}

/// Whether `Origin`, which browsers always send with a WebSocket, is `Host`.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let Some(origin) = text(header::ORIGIN) else {
        return true;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(header::HOST)
}

fn check_policy(
    registry: &Registry,
    principal: &Principal,
    method: &Method,
    path: &str,
) -> Result<(), Problem> {
    let (permission, place) = requirement(method, path);
    let grant = &principal.grant;
    if !grant.role.allows(permission) {
        return Err(forbidden());
    }
    match place {
        Place::Own | Place::Somewhere => Ok(()),
        Place::Site if grant.scope.is_site() => Ok(()),
        Place::Site => Err(forbidden()),
        Place::Device(_) if grant.scope.is_site() => Ok(()),
        Place::Device(text) => {
            let known = DeviceId::parse(text).ok();
            let device = known.and_then(|id| registry.by_id(&id));
            if device.is_some_and(|it| grant.scope.covers(&it.settings.location)) {
                Ok(())
            } else {
                Err(Problem::not_found(format!("no device '{text}'")))
            }
        }
    }
}

/// A 403: the caller's role or scope does not reach so far.
pub(super) fn forbidden() -> Problem {
    Problem::client(
        StatusCode::FORBIDDEN,
        "/problems/forbidden",
        "Not allowed",
        "your role, or the place it covers, does not allow this",
    )
}

fn unknown() -> Problem {
    Problem::client(
        StatusCode::UNAUTHORIZED,
        "/problems/unauthenticated",
        "Sign-in needed",
        "sign in, or send an API token as 'Authorization: Bearer …'",
    )
}

fn client_address(request: &Request, behind_proxy: bool) -> Option<IpAddr> {
    let forwarded = || {
        let value = request.headers().get("x-forwarded-for")?.to_str().ok()?;
        // The last entry is the one that the proxy in front added itself.
        value.rsplit(',').next()?.trim().parse().ok()
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(address)| address.ip().to_canonical());
    if behind_proxy {
        forwarded().or(peer)
    } else {
        peer
    }
}

/// The session's secret among the request's cookies.
pub(super) fn session_cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// The header that gives the browser its session.
pub(super) fn cookie(secret: &Secret, secure: bool) -> HeaderValue {
    set_cookie(secret.expose(), SESSION_MAX.as_secs(), secure)
}

/// The header that takes it back.
pub(super) fn no_cookie(secure: bool) -> HeaderValue {
    set_cookie("", 0, secure)
}

fn set_cookie(value: &str, max_age_s: u64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_s}{secure}");
    let mut header = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

/// A 401 carries the header that tells scripts how to sign in.
fn challenge(problem: Problem) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}
