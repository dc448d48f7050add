//! The ports that keep people, their sessions and API tokens.

use async_trait::async_trait;

use super::PortError;
use crate::access::{ApiToken, Grant, Session, SessionId, TokenId, User, UserId};
use crate::clock::Timestamp;
use crate::secret::{Secret, TokenDigest};

/// A person to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name to sign in with.
    pub name: String,
    /// What they may do, and where.
    pub grant: Grant,
    /// The password's hash.
    pub password_hash: String,
    /// When they are added.
    pub created_at: Timestamp,
}

/// What became of a write to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserWrite {
    /// It was done.
    Done(User),
    /// The name is taken, in whatever case.
    Taken,
    /// The person changed meanwhile, or is gone.
    Stale,
    /// It would have left no administrator of the whole site.
    LastAdmin,
}

/// Keeps people.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// All of them, in order of their names.
    async fn list(&self) -> Result<Vec<User>, PortError>;

    /// The one with this name, whatever its case.
    async fn by_name(&self, name: &str) -> Result<Option<User>, PortError>;

    /// The one with this key.
    async fn by_id(&self, id: UserId) -> Result<Option<User>, PortError>;

    /// Adds a person; with `only_first`, answers [`UserWrite::Stale`] where
    /// there is already one. Atomic.
    async fn insert(&self, user: NewUser, only_first: bool) -> Result<UserWrite, PortError>;

    /// Replaces grant, password hash and version of a person whose stored
    /// version is one below the new one. Atomic.
    async fn swap(&self, next: User) -> Result<UserWrite, PortError>;

    /// Removes a person and their sessions. Atomic.
    async fn remove(&self, id: UserId) -> Result<UserWrite, PortError>;

    /// Notes a sign-in.
    async fn signed_in(&self, id: UserId, at: Timestamp) -> Result<(), PortError>;
}

/// A session to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Whose.
    pub user: UserId,
    /// The digest of the cookie's secret.
    pub digest: TokenDigest,
    /// The secret that unsafe requests repeat in a header.
    pub csrf_token: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// The address they signed in from.
    pub address: Option<std::net::IpAddr>,
    /// What the browser calls itself.
    pub agent: String,
}

/// Which of a person's sessions a revocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// This one.
    One(SessionId),
    /// All of a person's but one, if one is named.
    AllOf(UserId, Option<SessionId>),
    /// Those last used before, or begun before the second moment.
    Idle {
        /// Last used before this.
        used_before: Timestamp,
        /// Begun before this.
        created_before: Timestamp,
    },
}

/// Keeps sessions.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Adds a session.
    async fn insert(&self, session: NewSession) -> Result<Session, PortError>;

    /// The session with this digest, or whose digest was this one until
    /// after `previous_since`, with its person.
    async fn find(
        &self,
        digest: TokenDigest,
        previous_since: Timestamp,
    ) -> Result<Option<(Session, User)>, PortError>;

    /// Replaces the digest `was`; says whether it was still that one. Atomic.
    async fn rotate(
        &self,
        id: SessionId,
        was: TokenDigest,
        next: TokenDigest,
        at: Timestamp,
    ) -> Result<bool, PortError>;

    /// Notes a use.
    async fn touch(&self, id: SessionId, at: Timestamp) -> Result<(), PortError>;

    /// A person's sessions, newest first.
    async fn list(&self, user: UserId) -> Result<Vec<Session>, PortError>;

    /// Ends sessions; says how many.
    async fn revoke(&self, which: Revoked) -> Result<usize, PortError>;
}

/// An API token to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is called.
    pub name: String,
    /// The digest of its secret.
    pub digest: TokenDigest,
    /// What it may do, and where.
    pub grant: Grant,
    /// Who makes it.
    pub created_by: String,
    /// When it is made.
    pub created_at: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// Keeps API tokens.
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Adds a token.
    async fn insert(&self, token: NewToken) -> Result<ApiToken, PortError>;

    /// The token with this digest.
    async fn find(&self, digest: TokenDigest) -> Result<Option<ApiToken>, PortError>;

    /// Notes a use.
    async fn touch(&self, id: TokenId, at: Timestamp) -> Result<(), PortError>;

    /// All tokens, newest first.
    async fn list(&self) -> Result<Vec<ApiToken>, PortError>;

    /// Ends a token; `None` where there is none with this key.
    async fn remove(&self, id: TokenId) -> Result<Option<ApiToken>, PortError>;
}

/// Hashes people's passwords, slowly and off the async threads.
#[async_trait]
pub trait PasswordHasher: Send + Sync + 'static {
    /// The hash of `password`, in PHC form.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] when too many wait already.
    async fn hash(&self, password: Secret) -> Result<String, PortError>;

    /// Whether `password` is the one of `hash`. Without a hash it is not, and
    /// takes as long to say so.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] when too many wait already.
    async fn verify(&self, hash: Option<String>, password: Secret) -> Result<bool, PortError>;
}
