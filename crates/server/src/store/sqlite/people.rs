//! People, sessions and API tokens in `dormouse.db`.

use std::net::IpAddr;

use async_trait::async_trait;
use dormouse_core::access::{ApiToken, Session, SessionId, TokenId, User, UserId};
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{
    NewSession, NewToken, NewUser, PortError, Revoked, SessionStore, TokenStore, UserStore,
    UserWrite,
};
use dormouse_core::secret::TokenDigest;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::SqliteFile;
use super::convert::{digest, grant, time, time_opt};

/// People, sessions and API tokens in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqlitePeople(SqliteFile);

impl SqlitePeople {
    /// People in `file`.
    #[must_use]
    pub const fn new(file: SqliteFile) -> Self {
        Self(file)
    }
}

#[async_trait]
impl UserStore for SqlitePeople {
    async fn list(&self) -> Result<Vec<User>, PortError> {
        self.0
            .read(|db| {
                let mut statement = db.prepare_cached("SELECT * FROM users ORDER BY name_key")?;
                let rows = statement.query_map([], read_user)?;
                rows.collect()
            })
            .await
    }

    async fn by_name(&self, name: &str) -> Result<Option<User>, PortError> {
        let key = name.to_lowercase();
        self.0
            .read(move |db| {
                db.prepare_cached("SELECT * FROM users WHERE name_key = ?1")?
                    .query_row([key], read_user)
                    .optional()
            })
            .await
    }

    async fn by_id(&self, id: UserId) -> Result<Option<User>, PortError> {
        self.0.read(move |db| user_by_id(db, id)).await
    }

    async fn insert(&self, user: NewUser, only_first: bool) -> Result<UserWrite, PortError> {
        self.0
            .write(move |db| insert_user(db, &user, only_first))
            .await
    }

    async fn swap(&self, next: User) -> Result<UserWrite, PortError> {
        self.0.write(move |db| swap_user(db, &next)).await
    }

    async fn remove(&self, id: UserId) -> Result<UserWrite, PortError> {
        self.0
            .write(move |db| {
                let Some(user) = user_by_id(db, id)? else {
                    return Ok(UserWrite::Stale);
                };
                if is_site_admin(&user) && !has_admin_besides(db, id)? {
                    return Ok(UserWrite::LastAdmin);
                }
                db.prepare_cached("DELETE FROM users WHERE id = ?1")?
                    .execute([id.0])?;
                Ok(UserWrite::Done(user))
            })
            .await
    }

    async fn signed_in(&self, id: UserId, at: Timestamp) -> Result<(), PortError> {
        let sql = "UPDATE users SET last_sign_in_at = ?2 WHERE id = ?1";
        touch(&self.0, sql, id.0, at).await
    }
}

fn insert_user(db: &Connection, user: &NewUser, only_first: bool) -> rusqlite::Result<UserWrite> {
    let exists = |sql: &str, key: &str| -> rusqlite::Result<bool> {
        db.prepare_cached(sql)?.query_row([key], |row| row.get(0))
    };
    let key = user.name.to_lowercase();
    if only_first && exists("SELECT EXISTS (SELECT 1 FROM users WHERE ?1 = ?1)", &key)? {
        return Ok(UserWrite::Stale);
    }
    if exists(
        "SELECT EXISTS (SELECT 1 FROM users WHERE name_key = ?1)",
        &key,
    )? {
        return Ok(UserWrite::Taken);
    }
    let sql = "INSERT INTO users (name, name_key, role, scope, password_hash, version, created_at) \
        VALUES (:name, :key, :role, :scope, :hash, 1, :created_at) RETURNING *";
    let user = db.prepare_cached(sql)?.query_row(
        named_params! {
            ":name": user.name,
            ":key": key,
            ":role": user.grant.role.as_str(),
            ":scope": user.grant.scope.as_str(),
            ":hash": user.password_hash,
            ":created_at": user.created_at.as_millis(),
        },
        read_user,
    )?;
    Ok(UserWrite::Done(user))
}

fn swap_user(db: &Connection, next: &User) -> rusqlite::Result<UserWrite> {
    let Some(user) = user_by_id(db, next.id)? else {
        return Ok(UserWrite::Stale);
    };
    if user.version.checked_add(1) != Some(next.version) {
        return Ok(UserWrite::Stale);
    }
    if is_site_admin(&user) && !is_site_admin(next) && !has_admin_besides(db, next.id)? {
        return Ok(UserWrite::LastAdmin);
    }
    let sql = "UPDATE users SET role = :role, scope = :scope, password_hash = :hash, \
        version = :version WHERE id = :id RETURNING *";
    let user = db.prepare_cached(sql)?.query_row(
        named_params! {
            ":id": next.id.0,
            ":role": next.grant.role.as_str(),
            ":scope": next.grant.scope.as_str(),
            ":hash": next.password_hash,
            ":version": next.version,
        },
        read_user,
    )?;
    Ok(UserWrite::Done(user))
}

fn user_by_id(db: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    db.prepare_cached("SELECT * FROM users WHERE id = ?1")?
        .query_row([id.0], read_user)
        .optional()
}

fn is_site_admin(user: &User) -> bool {
    user.grant.role == dormouse_core::access::Role::Admin && user.grant.scope.is_site()
}

fn has_admin_besides(db: &Connection, id: UserId) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS \
        (SELECT 1 FROM users WHERE role = 'admin' AND scope = '' AND id <> ?1)";
    db.prepare_cached(sql)?.query_row([id.0], |row| row.get(0))
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: UserId(row.get("id")?),
        name: row.get("name")?,
        grant: grant(row)?,
        password_hash: row.get("password_hash")?,
        version: row.get("version")?,
        created_at: time(row, "created_at")?,
        last_sign_in_at: time_opt(row, "last_sign_in_at")?,
    })
}

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

async fn touch(
    file: &SqliteFile,
    sql: &'static str,
    id: i64,
    at: Timestamp,
) -> Result<(), PortError> {
    file.write(move |db| {
        let mut statement = db.prepare_cached(sql)?;
        statement.execute(params![id, at.as_millis()]).map(drop)
    })
    .await
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract;

    use super::super::testing::dormouse_db;
    use super::*;

    #[tokio::test]
    async fn keeps_the_contracts() {
        let (_dir, file) = dormouse_db();
        let people = SqlitePeople::new(file);
        contract::user_store(&people).await;
        contract::session_store(&people, &people).await;
        contract::token_store(&people).await;
    }
}
