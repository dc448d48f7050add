//! Sessions and API tokens in PostgreSQL.

use std::net::IpAddr;

use async_trait::async_trait;
use dormouse_core::access::{ApiToken, Session, SessionId, TokenId, User, UserId};
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::{
    NewSession, NewToken, PortError, Revoked, SessionStore, TokenStore, UserStore,
};
use dormouse_core::secret::TokenDigest;
use tokio_postgres::Row;

use super::convert::{Moment, digest, grant, storable, time, time_opt};
use super::people::PostgresPeople;
use super::pool::get;

const SESSION: &str = "id, user_id, digest, csrf_token, created_at, rotated_at, last_used_at, \
    address, agent";
const TOKEN: &str = "id, name, digest, role, scope, created_by, created_at, expires_at, \
    last_used_at";

#[async_trait]
impl SessionStore for PostgresPeople {
    async fn insert(&self, session: NewSession) -> Result<Session, PortError> {
        let sql = format!(
            "INSERT INTO sessions (user_id, digest, previous_digest, csrf_token, created_at,
                 rotated_at, last_used_at, address, agent)
             VALUES ($1, $2, $2, $3, $4, $4, $4, $5, $6) RETURNING {SESSION}"
        );
        let row = self
            .0
            .query_one(
                &sql,
                &[
                    &session.user.0,
                    &&session.digest.0[..],
                    &session.csrf_token,
                    &Moment(session.created_at),
                    &session.address.map(|it| it.to_string()),
                    &storable(&session.agent),
                ],
            )
            .await?;
        read_session(&row)
    }

    async fn find(
        &self,
        digest: TokenDigest,
        previous_since: Timestamp,
    ) -> Result<Option<(Session, User)>, PortError> {
        let sql = format!(
            "SELECT {SESSION} FROM sessions WHERE digest = $1
             OR (previous_digest = $1 AND rotated_at > $2) LIMIT 1"
        );
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
            [&&digest.0[..], &Moment(previous_since)];
        let Some(row) = self.0.query_opt(&sql, &values).await? else {
            return Ok(None);
        };
        let session = read_session(&row)?;
        let user = self.by_id(session.user).await?;
        Ok(user.map(|user| (session, user)))
    }

    async fn rotate(
        &self,
        id: SessionId,
        was: TokenDigest,
        next: TokenDigest,
        at: Timestamp,
    ) -> Result<bool, PortError> {
        let sql = "UPDATE sessions SET previous_digest = digest, digest = $3, rotated_at = $4
            WHERE id = $1 AND digest = $2";
        let changed = self
            .0
            .execute(sql, &[&id.0, &&was.0[..], &&next.0[..], &Moment(at)])
            .await?;
        Ok(changed > 0)
    }

    async fn touch(&self, id: SessionId, at: Timestamp) -> Result<(), PortError> {
        let sql = "UPDATE sessions SET last_used_at = $2 WHERE id = $1";
        self.0.execute(sql, &[&id.0, &Moment(at)]).await.map(drop)
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, PortError> {
        let sql = format!("SELECT {SESSION} FROM sessions WHERE user_id = $1 ORDER BY id DESC");
        let rows = self.0.query(&sql, &[&user.0]).await?;
        rows.iter().map(read_session).collect()
    }

    async fn revoke(&self, which: Revoked) -> Result<usize, PortError> {
        match which {
            Revoked::One(id) => {
                let sql = "DELETE FROM sessions WHERE id = $1";
                self.0.execute(sql, &[&id.0]).await
            }
            Revoked::AllOf(user, but) => {
                let sql = "DELETE FROM sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2";
                self.0.execute(sql, &[&user.0, &but.map(|it| it.0)]).await
            }
            Revoked::Idle {
                used_before,
                created_before,
            } => {
                let sql = "DELETE FROM sessions WHERE last_used_at < $1 OR created_at < $2";
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] =
                    [&Moment(used_before), &Moment(created_before)];
                self.0.execute(sql, &values).await
            }
        }
    }
}

fn read_session(row: &Row) -> Result<Session, PortError> {
    let address: Option<&str> = get(row, "address")?;
    Ok(Session {
        id: SessionId(get(row, "id")?),
        user: UserId(get(row, "user_id")?),
        digest: digest(row)?,
        csrf_token: get(row, "csrf_token")?,
        created_at: time(row, "created_at")?,
        rotated_at: time(row, "rotated_at")?,
        last_used_at: time(row, "last_used_at")?,
        address: address.and_then(|text| text.parse::<IpAddr>().ok()),
        agent: get(row, "agent")?,
    })
}

#[async_trait]
impl TokenStore for PostgresPeople {
    async fn insert(&self, token: NewToken) -> Result<ApiToken, PortError> {
        let sql = format!(
            "INSERT INTO tokens (name, digest, role, scope, created_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {TOKEN}"
        );
        let row = self
            .0
            .query_one(
                &sql,
                &[
                    &storable(&token.name),
                    &&token.digest.0[..],
                    &token.grant.role.as_str(),
                    &storable(token.grant.scope.as_str()),
                    &storable(&token.created_by),
                    &Moment(token.created_at),
                    &token.expires_at.map(Moment),
                ],
            )
            .await?;
        read_token(&row)
    }

    async fn find(&self, digest: TokenDigest) -> Result<Option<ApiToken>, PortError> {
        let sql = format!("SELECT {TOKEN} FROM tokens WHERE digest = $1");
        let row = self.0.query_opt(&sql, &[&&digest.0[..]]).await?;
        row.as_ref().map(read_token).transpose()
    }

    async fn touch(&self, id: TokenId, at: Timestamp) -> Result<(), PortError> {
        let sql = "UPDATE tokens SET last_used_at = $2 WHERE id = $1";
        self.0.execute(sql, &[&id.0, &Moment(at)]).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<ApiToken>, PortError> {
        let sql = format!("SELECT {TOKEN} FROM tokens ORDER BY id DESC");
        let rows = self.0.query(&sql, &[]).await?;
        rows.iter().map(read_token).collect()
    }

    async fn remove(&self, id: TokenId) -> Result<Option<ApiToken>, PortError> {
        let sql = format!("DELETE FROM tokens WHERE id = $1 RETURNING {TOKEN}");
        let row = self.0.query_opt(&sql, &[&id.0]).await?;
        row.as_ref().map(read_token).transpose()
    }
}

fn read_token(row: &Row) -> Result<ApiToken, PortError> {
    Ok(ApiToken {
        id: TokenId(get(row, "id")?),
        name: get(row, "name")?,
        digest: digest(row)?,
        grant: grant(row)?,
        created_by: get(row, "created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: time_opt(row, "expires_at")?,
        last_used_at: time_opt(row, "last_used_at")?,
    })
}
