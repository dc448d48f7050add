//! Sessions and API tokens in `dormouse.db`.

use std::net::IpAddr;

use async_trait::async_trait;
use dormouse_core::access::{ApiToken, Session, SessionId, TokenId, User, UserId};
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{NewSession, NewToken, PortError, Revoked, SessionStore, TokenStore};
use dormouse_core::secret::TokenDigest;
use rusqlite::{OptionalExtension, Row, named_params, params};

use super::convert::{digest, grant, time, time_opt};
use super::people::{SqlitePeople, touch, user_by_id};

#[async_trait]
impl SessionStore for SqlitePeople {
    async fn insert(&self, session: NewSession) -> Result<Session, PortError> {
        self.0
            .write(move |db| {
                let sql = "INSERT INTO sessions (user_id, digest, previous_digest, csrf_token, \
                    created_at, rotated_at, last_used_at, address, agent) \
                    VALUES (:user, :digest, :digest, :csrf, :at, :at, :at, :address, :agent) \
                    RETURNING *";
                db.prepare_cached(sql)?.query_row(
                    named_params! {
                        ":user": session.user.0,
                        ":digest": session.digest.0,
                        ":csrf": session.csrf_token,
                        ":at": session.created_at.as_millis(),
                        ":address": session.address.map(|it| it.to_string()),
                        ":agent": session.agent,
                    },
                    read_session,
                )
            })
            .await
    }

    async fn find(
        &self,
        digest: TokenDigest,
        previous_since: Timestamp,
    ) -> Result<Option<(Session, User)>, PortError> {
        self.0
            .read(move |db| {
                let sql = "SELECT * FROM sessions WHERE digest = ?1 \
                    OR (previous_digest = ?1 AND rotated_at > ?2)";
                let session = db
                    .prepare_cached(sql)?
                    .query_row(params![digest.0, previous_since.as_millis()], read_session)
                    .optional()?;
                let Some(session) = session else {
                    return Ok(None);
                };
                Ok(user_by_id(db, session.user)?.map(|user| (session, user)))
            })
            .await
    }

    async fn rotate(
        &self,
        id: SessionId,
        was: TokenDigest,
        next: TokenDigest,
        at: Timestamp,
    ) -> Result<bool, PortError> {
        self.0
            .write(move |db| {
                let sql = "UPDATE sessions SET previous_digest = digest, digest = ?3, \
                    rotated_at = ?4 WHERE id = ?1 AND digest = ?2";
                let changed = db.prepare_cached(sql)?.execute(params![
                    id.0,
                    was.0,
                    next.0,
                    at.as_millis()
                ])?;
                Ok(changed > 0)
            })
            .await
    }

    async fn touch(&self, id: SessionId, at: Timestamp) -> Result<(), PortError> {
        let sql = "UPDATE sessions SET last_used_at = ?2 WHERE id = ?1";
        touch(&self.0, sql, id.0, at).await
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, PortError> {
        self.0
            .read(move |db| {
                let sql = "SELECT * FROM sessions WHERE user_id = ?1 ORDER BY id DESC";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map([user.0], read_session)?;
                rows.collect()
            })
            .await
    }

    async fn revoke(&self, which: Revoked) -> Result<usize, PortError> {
        self.0
            .write(move |db| match which {
                Revoked::One(id) => db
                    .prepare_cached("DELETE FROM sessions WHERE id = ?1")?
                    .execute([id.0]),
                Revoked::AllOf(user, but) => db
                    .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND id IS NOT ?2")?
                    .execute(params![user.0, but.map(|it| it.0)]),
                Revoked::Idle {
                    used_before,
                    created_before,
                } => db
                    .prepare_cached(
                        "DELETE FROM sessions WHERE last_used_at < ?1 OR created_at < ?2",
                    )?
                    .execute(params![used_before.as_millis(), created_before.as_millis()]),
            })
            .await
    }
}

fn read_session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let address: Option<String> = row.get("address")?;
    Ok(Session {
        id: SessionId(row.get("id")?),
        user: UserId(row.get("user_id")?),
        digest: digest(row)?,
        csrf_token: row.get("csrf_token")?,
        created_at: time(row, "created_at")?,
        rotated_at: time(row, "rotated_at")?,
        last_used_at: time(row, "last_used_at")?,
        address: address.and_then(|text| text.parse::<IpAddr>().ok()),
        agent: row.get("agent")?,
    })
}

#[async_trait]
impl TokenStore for SqlitePeople {
    async fn insert(&self, token: NewToken) -> Result<ApiToken, PortError> {
        self.0
            .write(move |db| {
                let sql = "INSERT INTO tokens (name, digest, role, scope, created_by, created_at, \
                    expires_at) VALUES (:name, :digest, :role, :scope, :created_by, :created_at, \
                    :expires_at) RETURNING *";
                db.prepare_cached(sql)?.query_row(
                    named_params! {
                        ":name": token.name,
                        ":digest": token.digest.0,
                        ":role": token.grant.role.as_str(),
                        ":scope": token.grant.scope.as_str(),
                        ":created_by": token.created_by,
                        ":created_at": token.created_at.as_millis(),
                        ":expires_at": token.expires_at.map(Timestamp::as_millis),
                    },
                    read_token,
                )
            })
            .await
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<ApiToken>, PortError> {
        self.0
            .read(move |db| {
                db.prepare_cached("SELECT * FROM tokens WHERE digest = ?1")?
                    .query_row([digest.0], read_token)
                    .optional()
            })
            .await
    }

    async fn touch(&self, id: TokenId, at: Timestamp) -> Result<(), PortError> {
        let sql = "UPDATE tokens SET last_used_at = ?2 WHERE id = ?1";
        touch(&self.0, sql, id.0, at).await
    }

    async fn list(&self) -> Result<Vec<ApiToken>, PortError> {
        self.0
            .read(|db| {
                let mut statement = db.prepare_cached("SELECT * FROM tokens ORDER BY id DESC")?;
                let rows = statement.query_map([], read_token)?;
                rows.collect()
            })
            .await
    }

    async fn remove(&self, id: TokenId) -> Result<Option<ApiToken>, PortError> {
        self.0
            .write(move |db| {
                db.prepare_cached("DELETE FROM tokens WHERE id = ?1 RETURNING *")?
                    .query_row([id.0], read_token)
                    .optional()
            })
            .await
    }
}

fn read_token(row: &Row<'_>) -> rusqlite::Result<ApiToken> {
    Ok(ApiToken {
        id: TokenId(row.get("id")?),
        name: row.get("name")?,
        digest: digest(row)?,
        grant: grant(row)?,
        created_by: row.get("created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: time_opt(row, "expires_at")?,
        last_used_at: time_opt(row, "last_used_at")?,
    })
}
