//! Signing in and out, and what a cookie is worth.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Access, AccessError, GuessKey, Principal, Via};
use crate::access::{
    Actor, Grant, Role, Scope, Session, SessionId, User, UserId, check_name, check_password,
};
use crate::event::Origin;
use crate::memory::lock;
use crate::ports::{NewSession, NewUser, PortError, Revoked, UserWrite};
use crate::secret::{Secret, TokenDigest};

/// The longest a session lasts.
pub const SESSION_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The longest a session lasts without being used.
const IDLE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How old a cookie's secret gets before it is replaced.
const ROTATE_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// How long a replaced secret still counts: requests under way carry it.
const ROTATE_GRACE: Duration = Duration::from_secs(60);
/// How often a use is noted.
const TOUCH_EVERY: Duration = Duration::from_secs(60);
/// Characters of a browser's name that are kept.
const AGENT_MAX: usize = 200;

/// An attempt to sign in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// The address it comes from.
    pub address: Option<IpAddr>,
    /// What the browser calls itself.
    pub agent: String,
}

/// A new session.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The cookie's secret; shown this once.
    pub cookie: Secret,
    /// Who it is.
    pub principal: Arc<Principal>,
}

impl Access {
    /// Creates the administrator with the one-time link's secret, and signs
    /// them in.
    ///
    /// # Errors
    /// When the link is wrong or used up, or name or password break a rule.
    pub async fn setup(&self, link: &str, attempt: SignIn) -> Result<SignedIn, AccessError> {
        let keys = [GuessKey::address(attempt.address)];
        self.take_guess(&keys)?;
        if !self.needs_setup().await? {
            return Err(AccessError::SetupDone);
        }
        let right = lock(&self.setup)
            .as_ref()
            .is_some_and(|it| it.matches(link.as_bytes()));
        if !right {
            return Err(AccessError::BadSetupLink);
        }
        lock(&self.throttle).refund(&keys);
        check_new_name(&attempt.name)?;
        check_new_password(&attempt.name, &attempt.password)?;
        let hash = self.parts.hasher.hash(attempt.password.clone()).await?;
        let administrator = NewUser {
            name: attempt.name.clone(),
            grant: Grant {
                role: Role::Admin,
                scope: Scope::site(),
            },
            password_hash: hash,
            created_at: self.parts.clock.now(),
        };
        let user = match self.parts.users.insert(administrator, true).await? {
            UserWrite::Done(user) => user,
            UserWrite::Taken | UserWrite::Stale | UserWrite::LastAdmin => {
                return Err(AccessError::SetupDone);
            }
        };
        *lock(&self.setup) = None;
        self.begin(&user, &attempt, "setup").await
    }

    /// Signs somebody in.
    ///
    /// # Errors
    /// When name or password are wrong, or too many attempts failed.
    pub async fn sign_in(&self, attempt: SignIn) -> Result<SignedIn, AccessError> {
        let keys = [
            GuessKey::address(attempt.address),
            GuessKey::name(&attempt.name),
        ];
        self.take_guess(&keys)?;
        let user = self.parts.users.by_name(&attempt.name).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let password = attempt.password.clone();
        let right = self.parts.hasher.verify(hash, password).await?;
        match user {
            Some(user) if right => {
                lock(&self.throttle).refund(&keys);
                self.parts
                    .users
                    .signed_in(user.id, self.parts.clock.now())
                    .await?;
                self.begin(&user, &attempt, "session.begin").await
            }
            user => {
                // A name nobody has may be a password typed into the wrong field.
                let name = user.map_or_else(|| "user".to_owned(), |it| format!("user:{}", it.name));
                let actor = Actor {
                    origin: Origin::Server,
                    address: attempt.address,
                };
                self.parts
                    .audit
                    .record(actor, "session.refuse", name, Value::Null);
                Err(AccessError::BadCredentials)
            }
        }
    }

    /// Who a cookie's secret belongs to, and the secret's replacement when it
    /// is due; `None` where it is worth nothing.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn by_cookie(
        &self,
        cookie: &str,
    ) -> Result<Option<(Arc<Principal>, Option<Secret>)>, PortError> {
        let digest = TokenDigest::of(cookie);
        if let Some(principal) = self.recall(&digest) {
            return Ok(Some((principal, None)));
        }
        let now = self.parts.clock.now();
        let found = self.parts.sessions.find(digest, now - ROTATE_GRACE).await?;
        let Some((session, user)) = found else {
            return Ok(None);
        };
        let over =
            now >= session.created_at + SESSION_MAX || now >= session.last_used_at + IDLE_MAX;
        if over {
            return Ok(None);
        }
        if now >= session.last_used_at + TOUCH_EVERY {
            self.parts.sessions.touch(session.id, now).await?;
        }
        let principal = Arc::new(principal_of(&session, &user));
        if session.digest == digest && now >= session.rotated_at + ROTATE_AFTER {
            let next = self.rotate(session.id, digest).await?;
            return Ok(Some((principal, next)));
        }
        self.remember(digest, &principal);
        Ok(Some((principal, None)))
    }

    /// Ends the session of `principal`, if it came in with one.
    ///
    /// # Errors
    /// When the store cannot do it.
    pub async fn sign_out(&self, principal: &Principal, actor: &Actor) -> Result<(), PortError> {
        if let Via::Session { session, .. } = &principal.via {
            self.parts.sessions.revoke(Revoked::One(*session)).await?;
            self.forget_callers();
            let target = target_of(&principal.origin);
            self.parts
                .audit
                .write(actor, "session.end", target, Value::Null)
                .await?;
        }
        Ok(())
    }

    /// A person's sessions, newest first.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn sessions_of(&self, name: &str) -> Result<Vec<Session>, AccessError> {
        let user = self.person(name).await?;
        Ok(self.parts.sessions.list(user.id).await?)
    }

    /// Ends all sessions of a person; says how many.
    ///
    /// # Errors
    /// When there is no such person.
    pub async fn end_sessions(&self, actor: &Actor, name: &str) -> Result<usize, AccessError> {
        let user = self.person(name).await?;
        let ended = self.revoke_sessions(user.id, None).await?;
        let target = format!("user:{}", user.name);
        self.parts
            .audit
            .write(actor, "session.revoke", target, json!({ "ended": ended }))
            .await?;
        Ok(ended)
    }

    /// Removes sessions that are over; call it now and then.
    ///
    /// # Errors
    /// When the store cannot do it.
    pub async fn prune(&self) -> Result<usize, PortError> {
        let now = self.parts.clock.now();
        let over = Revoked::Idle {
            used_before: now - IDLE_MAX,
            created_before: now - SESSION_MAX,
        };
        self.parts.sessions.revoke(over).await
    }

    pub(super) async fn revoke_sessions(
        &self,
        user: UserId,
        but: Option<SessionId>,
    ) -> Result<usize, PortError> {
        let ended = self.parts.sessions.revoke(Revoked::AllOf(user, but)).await;
        self.forget_callers();
        ended
    }

    pub(super) async fn rotate(
        &self,
        session: SessionId,
        was: TokenDigest,
    ) -> Result<Option<Secret>, PortError> {
        let secret = Secret::random("");
        let next = TokenDigest::of(secret.expose());
        let now = self.parts.clock.now();
        let rotated = self.parts.sessions.rotate(session, was, next, now).await?;
        Ok(rotated.then_some(secret))
    }

    pub(super) fn take_guess(&self, keys: &[GuessKey]) -> Result<(), AccessError> {
        let now = self.parts.clock.instant();
        lock(&self.throttle)
            .take(keys, now)
            .map_err(|wait| AccessError::TooManyAttempts {
                retry_after_s: wait.as_secs().max(1),
            })
    }

    async fn begin(
        &self,
        user: &User,
        attempt: &SignIn,
        action: &'static str,
    ) -> Result<SignedIn, AccessError> {
        let cookie = Secret::random("");
        let session = NewSession {
            user: user.id,
            digest: TokenDigest::of(cookie.expose()),
            csrf_token: Secret::random("").expose().to_owned(),
            created_at: self.parts.clock.now(),
            address: attempt.address,
            agent: attempt.agent.chars().take(AGENT_MAX).collect(),
        };
        let session = self.parts.sessions.insert(session).await?;
        let principal = Arc::new(principal_of(&session, user));
        let actor = Actor {
            origin: principal.origin.clone(),
            address: attempt.address,
        };
        let target = target_of(&principal.origin);
        self.parts
            .audit
            .write(&actor, action, target, Value::Null)
            .await?;
        Ok(SignedIn { cookie, principal })
    }
}

pub(super) fn check_new_name(name: &str) -> Result<(), AccessError> {
    check_name(name).map_err(|_| {
        AccessError::invalid(
            "username",
            "1 to 64 characters without control characters, and without spaces at its ends",
        )
    })
}

pub(super) fn check_new_password(name: &str, password: &Secret) -> Result<(), AccessError> {
    use crate::access::WeakPassword::{Long, Name, Short};
    let rule = match check_password(name, password.expose()) {
        Ok(()) => return Ok(()),
        Err(Short) => "at least 8 characters",
        Err(Long) => "at most 256 bytes",
        Err(Name) => "must differ from the name",
    };
    Err(AccessError::invalid("password", rule))
}

fn principal_of(session: &Session, user: &User) -> Principal {
    Principal {
        origin: Origin::User {
            name: user.name.clone(),
        },
        grant: user.grant.clone(),
        key: format!("user:{}", user.id.0).into(),
        via: Via::Session {
            user: user.id,
            session: session.id,
            csrf_token: session.csrf_token.clone(),
        },
    }
}

fn target_of(origin: &Origin) -> String {
    format!("user:{}", origin.name().unwrap_or_default())
}
