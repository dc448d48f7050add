//! People in `dormouse.db`.

use async_trait::async_trait;
use dormouse_core::access::{User, UserId};
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{NewUser, PortError, UserStore, UserWrite};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::SqliteFile;
use super::convert::{grant, time, time_opt};

/// People, sessions and API tokens in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqlitePeople(pub(super) SqliteFile);

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
                if user.grant.is_site_admin() && !has_admin_besides(db, id)? {
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
    if user.grant.is_site_admin() && !next.grant.is_site_admin() && !has_admin_besides(db, next.id)?
    {
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

pub(super) fn user_by_id(db: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    db.prepare_cached("SELECT * FROM users WHERE id = ?1")?
        .query_row([id.0], read_user)
        .optional()
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

/// Notes when something was used.
pub(super) async fn touch(
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
