//! API tokens, for scripts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::session::check_new_name;
use super::{Access, AccessError, Principal, Via};
use crate::access::{Actor, ApiToken, Grant, TokenId};
use crate::clock::Timestamp;
use crate::event::Origin;
use crate::ports::{NewToken, PortError};
use crate::secret::{Secret, TokenDigest};

/// What every token begins with, so that leaked ones are recognised.
const PREFIX: &str = "dmt_";
/// How often a use is noted.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// A token to make.
#[derive(Debug, Clone)]
pub struct TokenNew {
    /// What it is called.
    pub name: String,
    /// What it may do, and where.
    pub grant: Grant,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

impl Access {
    /// Makes a token; its secret is returned this once.
    ///
    /// # Errors
    /// When the name breaks the rule, or the end lies in the past.
    pub async fn make_token(
        &self,
        actor: &Actor,
        new: TokenNew,
    ) -> Result<(ApiToken, Secret), AccessError> {
        check_new_name(&new.name).map_err(|_| {
            AccessError::invalid(
                "name",
                "1 to 64 characters without control characters, and without spaces at its ends",
            )
        })?;
        let now = self.parts.clock.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(AccessError::invalid("expiresAt", "must lie in the future"));
        }
        let secret = Secret::random(PREFIX);
        let token = NewToken {
            name: new.name,
            digest: TokenDigest::of(secret.expose()),
            grant: new.grant,
            created_by: actor
                .origin
                .name()
                .unwrap_or(actor.origin.kind())
                .to_owned(),
            created_at: now,
            expires_at: new.expires_at,
        };
        let token = self.parts.tokens.insert(token).await?;
        self.note_token(actor, "token.create", &token).await?;
        Ok((token, secret))
    }

    /// All tokens, newest first.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, PortError> {
        self.parts.tokens.list().await
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// When there is none with this key.
    pub async fn revoke_token(&self, actor: &Actor, id: TokenId) -> Result<(), AccessError> {
        let token = self.parts.tokens.remove(id).await?;
        self.forget_callers();
        let token = token.ok_or_else(|| AccessError::Unknown(format!("token {}", id.0)))?;
        self.note_token(actor, "token.revoke", &token).await
    }

    /// Who a token's secret belongs to; `None` where it is worth nothing.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn by_token(&self, secret: &str) -> Result<Option<Arc<Principal>>, PortError> {
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        let digest = TokenDigest::of(secret);
        if let Some(principal) = self.recall(&digest) {
            return Ok(Some(principal));
        }
        let now = self.parts.clock.now();
        let found = self.parts.tokens.find(digest).await?;
        let Some(token) = found.filter(|it| it.expires_at.is_none_or(|at| now < at)) else {
            return Ok(None);
        };
        if token.last_used_at.is_none_or(|at| now >= at + TOUCH_EVERY) {
            self.parts.tokens.touch(token.id, now).await?;
        }
        let principal = Arc::new(Principal {
            origin: Origin::Token { name: token.name },
            grant: token.grant,
            key: format!("token:{}", token.id.0).into(),
            via: Via::Token(token.id),
        });
        self.remember(digest, &principal);
        Ok(Some(principal))
    }

    async fn note_token(
        &self,
        actor: &Actor,
        action: &'static str,
        token: &ApiToken,
    ) -> Result<(), AccessError> {
        let target = format!("token:{}", token.id.0);
        let data = json!({
            "name": token.name,
            "role": token.grant.role,
            "scope": token.grant.scope.as_str(),
        });
        Ok(self.parts.audit.write(actor, action, target, data).await?)
    }
}
