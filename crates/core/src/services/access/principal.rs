//! Who is calling.

use std::sync::Arc;

use super::Access;
use super::session::SESSION_MAX;
use crate::access::{ApiToken, Grant, Session, SessionId, TokenId, UserId};
use crate::event::Origin;
use crate::ports::PortError;

/// Who is calling, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// How changes will name them.
    pub origin: Origin,
    /// What they may do, and where.
    pub grant: Grant,
    /// A stable key of this caller, for limits and idempotency: a person's
    /// browsers share one, each token has its own.
    pub key: Arc<str>,
    /// How they came in.
    pub via: Via,
}

/// How a caller came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// With a cookie.
    Session {
        /// Whose.
        user: UserId,
        /// Which session.
        session: SessionId,
        /// What unsafe requests repeat in a header.
        csrf_token: String,
    },
    /// With an API token.
    Token(TokenId),
}

impl Access {
    /// Whether `principal` may still do what it could when it came in; for
    /// connections that stay open.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn still_holds(&self, principal: &Principal) -> Result<bool, PortError> {
        let now = self.parts.clock.now();
        match &principal.via {
            Via::Session { user, session, .. } => {
                let person = self.parts.users.by_id(*user).await?;
                let sessions = self.parts.sessions.list(*user).await?;
                let lives = |it: &Session| it.id == *session && now < it.created_at + SESSION_MAX;
                Ok(person.is_some_and(|person| person.grant == principal.grant)
                    && sessions.iter().any(lives))
            }
            Via::Token(id) => {
                let tokens = self.parts.tokens.list().await?;
                let lives = |it: &ApiToken| it.id == *id && it.expires_at.is_none_or(|at| now < at);
                Ok(tokens.iter().any(lives))
            }
        }
    }
}
