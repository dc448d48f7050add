//! People, their sessions and API tokens in maps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::lock;
use crate::access::{ApiToken, Session, SessionId, TokenId, User, UserId};
use crate::clock::Timestamp;
use crate::ports::{
    NewSession, NewToken, NewUser, PortError, Revoked, SessionStore, TokenStore, UserStore,
    UserWrite,
};
use crate::secret::TokenDigest;

/// People and sessions, which are removed with them.
#[derive(Debug, Default)]
struct Tables {
    users: BTreeMap<UserId, User>,
    last_user: i64,
    sessions: BTreeMap<SessionId, (Session, TokenDigest)>,
    last_session: i64,
}

/// People in a map.
#[derive(Debug, Default)]
pub struct MemoryUsers(Arc<Mutex<Tables>>);

impl MemoryUsers {
    /// The store of these people's sessions.
    #[must_use]
    pub fn sessions(&self) -> MemorySessions {
        MemorySessions(self.0.clone())
    }
}

impl Tables {
    fn has_admin_besides(&self, id: UserId) -> bool {
        self.users
            .values()
            .any(|user| user.id != id && user.grant.is_site_admin())
    }
}

#[async_trait]
impl UserStore for MemoryUsers {
    async fn list(&self) -> Result<Vec<User>, PortError> {
        let mut users: Vec<_> = lock(&self.0).users.values().cloned().collect();
        users.sort_by_key(|user| user.name.to_lowercase());
        Ok(users)
    }

    async fn by_name(&self, name: &str) -> Result<Option<User>, PortError> {
        let tables = lock(&self.0);
        let mut users = tables.users.values();
        Ok(users
            .find(|user| user.name.to_lowercase() == name.to_lowercase())
            .cloned())
    }

    async fn by_id(&self, id: UserId) -> Result<Option<User>, PortError> {
        Ok(lock(&self.0).users.get(&id).cloned())
    }

    async fn insert(&self, user: NewUser, only_first: bool) -> Result<UserWrite, PortError> {
        let mut tables = lock(&self.0);
        let name = user.name.to_lowercase();
        if only_first && !tables.users.is_empty() {
            return Ok(UserWrite::Stale);
        }
        if tables
            .users
            .values()
            .any(|it| it.name.to_lowercase() == name)
        {
            return Ok(UserWrite::Taken);
        }
        tables.last_user += 1;
        let user = User {
            id: UserId(tables.last_user),
            name: user.name,
            grant: user.grant,
            password_hash: user.password_hash,
            version: 1,
            created_at: user.created_at,
            last_sign_in_at: None,
        };
        tables.users.insert(user.id, user.clone());
        Ok(UserWrite::Done(user))
    }

    async fn swap(&self, next: User) -> Result<UserWrite, PortError> {
        let mut tables = lock(&self.0);
        let Some(user) = tables.users.get(&next.id) else {
            return Ok(UserWrite::Stale);
        };
        if user.version.checked_add(1) != Some(next.version) {
            return Ok(UserWrite::Stale);
        }
        if user.grant.is_site_admin()
            && !next.grant.is_site_admin()
            && !tables.has_admin_besides(next.id)
        {
            return Ok(UserWrite::LastAdmin);
        }
        let next = User {
            name: user.name.clone(),
            created_at: user.created_at,
            last_sign_in_at: user.last_sign_in_at,
            ..next
        };
        tables.users.insert(next.id, next.clone());
        Ok(UserWrite::Done(next))
    }

    async fn remove(&self, id: UserId) -> Result<UserWrite, PortError> {
        let mut tables = lock(&self.0);
        let Some(user) = tables.users.get(&id).cloned() else {
            return Ok(UserWrite::Stale);
        };
        if user.grant.is_site_admin() && !tables.has_admin_besides(id) {
            return Ok(UserWrite::LastAdmin);
        }
        tables.users.remove(&id);
        tables.sessions.retain(|_, (session, _)| session.user != id);
        Ok(UserWrite::Done(user))
    }

    async fn signed_in(&self, id: UserId, at: Timestamp) -> Result<(), PortError> {
        if let Some(user) = lock(&self.0).users.get_mut(&id) {
            user.last_sign_in_at = Some(at);
        }
        Ok(())
    }
}

/// Sessions in a map; see [`MemoryUsers::sessions`].
#[derive(Debug)]
pub struct MemorySessions(Arc<Mutex<Tables>>);

#[async_trait]
impl SessionStore for MemorySessions {
    async fn insert(&self, session: NewSession) -> Result<Session, PortError> {
        let mut tables = lock(&self.0);
        tables.last_session += 1;
        let session = Session {
            id: SessionId(tables.last_session),
            user: session.user,
            digest: session.digest,
            csrf_token: session.csrf_token,
            created_at: session.created_at,
            rotated_at: session.created_at,
            last_used_at: session.created_at,
            address: session.address,
            agent: session.agent,
        };
        let previous = session.digest;
        tables
            .sessions
            .insert(session.id, (session.clone(), previous));
        Ok(session)
    }

    async fn find(
        &self,
        digest: TokenDigest,
        previous_since: Timestamp,
    ) -> Result<Option<(Session, User)>, PortError> {
        let tables = lock(&self.0);
        let found = tables.sessions.values().find(|(session, previous)| {
            session.digest == digest || (*previous == digest && session.rotated_at > previous_since)
        });
        let user = |session: &Session| tables.users.get(&session.user).cloned();
        Ok(found.and_then(|(session, _)| Some((session.clone(), user(session)?))))
    }

    async fn rotate(
        &self,
        id: SessionId,
        was: TokenDigest,
        next: TokenDigest,
        at: Timestamp,
    ) -> Result<bool, PortError> {
        let mut tables = lock(&self.0);
        let Some((session, previous)) = tables.sessions.get_mut(&id) else {
            return Ok(false);
        };
        if session.digest != was {
            return Ok(false);
        }
        *previous = was;
        session.digest = next;
        session.rotated_at = at;
        Ok(true)
    }

    async fn touch(&self, id: SessionId, at: Timestamp) -> Result<(), PortError> {
        if let Some((session, _)) = lock(&self.0).sessions.get_mut(&id) {
            session.last_used_at = at;
        }
        Ok(())
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, PortError> {
        let tables = lock(&self.0);
        let sessions = tables.sessions.values().rev().map(|(session, _)| session);
        Ok(sessions.filter(|it| it.user == user).cloned().collect())
    }

    async fn revoke(&self, which: Revoked) -> Result<usize, PortError> {
        let mut tables = lock(&self.0);
        let before = tables.sessions.len();
        tables.sessions.retain(|id, (session, _)| match which {
            Revoked::One(one) => *id != one,
            Revoked::AllOf(user, but) => session.user != user || Some(*id) == but,
            Revoked::Idle {
                used_before,
                created_before,
            } => session.last_used_at >= used_before && session.created_at >= created_before,
        });
        Ok(before - tables.sessions.len())
    }
}

/// API tokens in a map.
#[derive(Debug, Default)]
pub struct MemoryTokens(Mutex<BTreeMap<TokenId, ApiToken>>);

#[async_trait]
impl TokenStore for MemoryTokens {
    async fn insert(&self, token: NewToken) -> Result<ApiToken, PortError> {
        let mut tokens = lock(&self.0);
        let last = tokens.last_key_value().map_or(0, |(id, _)| id.0);
        let token = ApiToken {
            id: TokenId(last + 1),
            name: token.name,
            digest: token.digest,
            grant: token.grant,
            created_by: token.created_by,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: None,
        };
        tokens.insert(token.id, token.clone());
        Ok(token)
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<ApiToken>, PortError> {
        let tokens = lock(&self.0);
        Ok(tokens.values().find(|it| it.digest == digest).cloned())
    }

    async fn touch(&self, id: TokenId, at: Timestamp) -> Result<(), PortError> {
        if let Some(token) = lock(&self.0).get_mut(&id) {
            token.last_used_at = Some(at);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<ApiToken>, PortError> {
        Ok(lock(&self.0).values().rev().cloned().collect())
    }

    async fn remove(&self, id: TokenId) -> Result<Option<ApiToken>, PortError> {
        Ok(lock(&self.0).remove(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keep_the_contracts_of_people() {
        let users = MemoryUsers::default();
        let sessions = users.sessions();
        crate::contract::user_store(&users).await;
        crate::contract::session_store(&users, &sessions).await;
        crate::contract::token_store(&MemoryTokens::default()).await;
    }
}
