//! People: first start, signing in, sessions, API tokens.
//!
//! Who calls is read from the store and remembered for a second, so that a
//! token made or taken back by another process counts at once or a second
//! later; what this process changes counts at once.

mod error;
mod people;
mod principal;
mod session;
mod throttle;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::clock::{Clock, Instant};
use crate::memory::lock;
use crate::ports::{PasswordHasher, PortError, SessionStore, TokenStore, UserStore};
use crate::secret::{Secret, TokenDigest};
use crate::services::audit::AuditLog;

pub use error::AccessError;
pub use people::{PersonEdit, PersonNew};
pub use principal::{Principal, Via};
pub use session::{SESSION_MAX, SignIn, SignedIn};
pub use throttle::{GuessKey, Throttle};
pub use token::TokenNew;

/// How long an answer about a caller is remembered.
const REMEMBER: std::time::Duration = std::time::Duration::from_secs(1);
/// Callers remembered at most; beyond it all are forgotten, and read again.
const REMEMBER_MAX: usize = 4_096;

/// What an [`Access`] works with.
pub struct AccessParts {
    /// Keeps people.
    pub users: Arc<dyn UserStore>,
    /// Keeps their sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Keeps API tokens.
    pub tokens: Arc<dyn TokenStore>,
    /// Hashes passwords.
    pub hasher: Arc<dyn PasswordHasher>,
    /// Keeps who changed what.
    pub audit: Arc<AuditLog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// People and what they may sign in with.
pub struct Access {
    parts: AccessParts,
    setup: Mutex<Option<Secret>>,
    throttle: Mutex<Throttle>,
    known: Mutex<HashMap<TokenDigest, (Arc<Principal>, Instant)>>,
}

impl fmt::Debug for AccessParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessParts").finish_non_exhaustive()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// People over `parts`.
    #[must_use]
    pub fn new(parts: AccessParts) -> Self {
        Self {
            parts,
            setup: Mutex::default(),
            throttle: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// Whether nobody can sign in yet.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn needs_setup(&self) -> Result<bool, PortError> {
        Ok(self.parts.users.list().await?.is_empty())
    }

    /// Where nobody can sign in yet: the secret of a one-time link to create
    /// the administrator, good until it is used or this process ends.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn open_setup(&self) -> Result<Option<Secret>, PortError> {
        if !self.needs_setup().await? {
            return Ok(None);
        }
        let mut setup = lock(&self.setup);
        Ok(Some(
            setup.get_or_insert_with(|| Secret::random("")).clone(),
        ))
    }

    fn recall(&self, digest: &TokenDigest) -> Option<Arc<Principal>> {
        let now = self.parts.clock.instant();
        let known = lock(&self.known);
        let (principal, until) = known.get(digest)?;
        (now < *until).then(|| principal.clone())
    }

    fn remember(&self, digest: TokenDigest, principal: &Arc<Principal>) {
        let until = self.parts.clock.instant() + REMEMBER;
        let mut known = lock(&self.known);
        if known.len() >= REMEMBER_MAX {
            known.clear();
        }
        known.insert(digest, (principal.clone(), until));
    }

    /// Reads every caller again: somebody's rights changed.
    fn forget_callers(&self) {
        lock(&self.known).clear();
    }
}

#[cfg(test)]
mod tests;
