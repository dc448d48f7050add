//! Who is calling.

use std::sync::Arc;

use crate::access::{Grant, SessionId, TokenId, UserId};
use crate::event::Origin;

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
