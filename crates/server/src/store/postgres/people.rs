//! People, sessions and API tokens in PostgreSQL.

use async_trait::async_trait;
use deadpool_postgres::{GenericClient, Transaction};
use dormouse_core::access::{User, UserId};
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{NewUser, PortError, UserStore, UserWrite};
use tokio_postgres::{Error, Row};

use super::Postgres;
use super::convert::{Moment, grant, storable, time, time_opt, unreadable};
use super::pool::{get, in_time};

/// Held while people are written: that one administrator stays is a rule over
/// all of them.
const ONE_WRITER: &str = "SELECT pg_advisory_xact_lock(x'646f7264'::int4, 1)";

pub(super) const USER: &str = "u.id, u.name, u.role, u.scope, u.password_hash, u.version, \
    u.created_at, u.last_sign_in_at";

/// People, sessions and API tokens in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresPeople(pub(super) Postgres);

impl PostgresPeople {
    /// People in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }

    /// Runs `work` while nobody else writes people.
    async fn alone<F>(&self, work: F) -> Result<UserWrite, PortError>
    where
        F: AsyncFnOnce(&Transaction<'_>) -> Result<Outcome, Error>,
    {
        let mut client = self.0.connection().await?;
        let outcome = in_time(async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(ONE_WRITER).await?;
            let outcome = work(&transaction).await?;
            transaction.commit().await?;
            Ok(outcome)
        });
        Ok(match outcome.await? {
            Outcome::Done(row) => UserWrite::Done(read_user(&row)?),
            Outcome::Taken => UserWrite::Taken,
            Outcome::Stale => UserWrite::Stale,
            Outcome::LastAdmin => UserWrite::LastAdmin,
        })
    }
}

/// A [`UserWrite`] with the row still unread.
enum Outcome {
    Done(Row),
    Taken,
    Stale,
    LastAdmin,
}

#[async_trait]
impl UserStore for PostgresPeople {
    async fn list(&self) -> Result<Vec<User>, PortError> {
        let sql = format!("SELECT {USER} FROM users u ORDER BY name_key");
        let rows = self.0.query(&sql, &[]).await?;
        rows.iter().map(read_user).collect()
    }

    async fn by_name(&self, name: &str) -> Result<Option<User>, PortError> {
        let sql = format!("SELECT {USER} FROM users u WHERE name_key = $1");
        let key = name.to_lowercase();
        let row = self.0.query_opt(&sql, &[&storable(&key)]).await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn by_id(&self, id: UserId) -> Result<Option<User>, PortError> {
        let sql = format!("SELECT {USER} FROM users u WHERE id = $1");
        let row = self.0.query_opt(&sql, &[&id.0]).await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn insert(&self, user: NewUser, only_first: bool) -> Result<UserWrite, PortError> {
        self.alone(async |db| insert(db, &user, only_first).await)
            .await
    }

    async fn swap(&self, next: User) -> Result<UserWrite, PortError> {
        self.alone(async |db| swap(db, &next).await).await
    }

    async fn remove(&self, id: UserId) -> Result<UserWrite, PortError> {
        self.alone(async |db| remove(db, id).await).await
    }

    async fn signed_in(&self, id: UserId, at: Timestamp) -> Result<(), PortError> {
        let sql = "UPDATE users SET last_sign_in_at = $2 WHERE id = $1";
        self.0.execute(sql, &[&id.0, &Moment(at)]).await.map(drop)
    }
}

async fn insert(db: &Transaction<'_>, user: &NewUser, only_first: bool) -> Result<Outcome, Error> {
    let key = user.name.to_lowercase();
    let sql = "SELECT EXISTS (SELECT FROM users),
        EXISTS (SELECT FROM users WHERE name_key = $1)";
    let there = db.query_one(sql, &[&storable(&key)]).await?;
    if only_first && there.get(0) {
        return Ok(Outcome::Stale);
    }
    if there.get(1) {
        return Ok(Outcome::Taken);
    }
    let sql = format!(
        "INSERT INTO users AS u (name, name_key, role, scope, password_hash, version, created_at)
         VALUES ($1, $2, $3, $4, $5, 1, $6) RETURNING {USER}"
    );
    let row = db
        .query_one(
            &sql,
            &[
                &storable(&user.name),
                &storable(&key),
                &user.grant.role.as_str(),
                &storable(user.grant.scope.as_str()),
                &user.password_hash,
                &Moment(user.created_at),
            ],
        )
        .await?;
    Ok(Outcome::Done(row))
}

/// A person's version, and whether they are the only administrator of the site.
async fn standing(db: &Transaction<'_>, id: UserId) -> Result<Option<(i64, bool)>, Error> {
    let sql = "SELECT version, role = 'admin' AND scope = '' AND NOT EXISTS
            (SELECT FROM users WHERE role = 'admin' AND scope = '' AND id <> $1)
        FROM users WHERE id = $1";
    let row = db.query_opt(sql, &[&id.0]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

async fn swap(db: &Transaction<'_>, next: &User) -> Result<Outcome, Error> {
    let Some((version, only_admin)) = standing(db, next.id).await? else {
        return Ok(Outcome::Stale);
    };
    if version + 1 != i64::from(next.version) {
        return Ok(Outcome::Stale);
    }
    let stays = next.grant.is_site_admin();
    if only_admin && !stays {
        return Ok(Outcome::LastAdmin);
    }
    let sql = format!(
        "UPDATE users u SET role = $2, scope = $3, password_hash = $4, version = $5
         WHERE id = $1 RETURNING {USER}"
    );
    let row = db
        .query_one(
            &sql,
            &[
                &next.id.0,
                &next.grant.role.as_str(),
                &storable(next.grant.scope.as_str()),
                &next.password_hash,
                &i64::from(next.version),
            ],
        )
        .await?;
    Ok(Outcome::Done(row))
}

async fn remove(db: &Transaction<'_>, id: UserId) -> Result<Outcome, Error> {
    match standing(db, id).await? {
        None => Ok(Outcome::Stale),
        Some((_, true)) => Ok(Outcome::LastAdmin),
        Some((_, false)) => {
            let sql = format!("DELETE FROM users u WHERE id = $1 RETURNING {USER}");
            Ok(Outcome::Done(db.query_one(&sql, &[&id.0]).await?))
        }
    }
}

pub(super) fn read_user(row: &Row) -> Result<User, PortError> {
    let version: i64 = get(row, "version")?;
    Ok(User {
        id: UserId(get(row, "id")?),
        name: get(row, "name")?,
        grant: grant(row)?,
        password_hash: get(row, "password_hash")?,
        version: version.try_into().map_err(|_| unreadable("version"))?,
        created_at: time(row, "created_at")?,
        last_sign_in_at: time_opt(row, "last_sign_in_at")?,
    })
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract;

    use super::super::testing::{Engine, on_every_engine};
    use super::*;

    async fn keeps_the_contracts(engine: Engine) {
        let people = PostgresPeople::new(engine.open().await);
        contract::user_store(&people).await;
        contract::session_store(&people, &people).await;
        contract::token_store(&people).await;
    }
    on_every_engine!(keeps_the_contracts);
}
