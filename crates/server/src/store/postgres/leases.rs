//! Leases, judged by the database's clock.

use std::time::Duration;

use async_trait::async_trait;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use dormouse_core::ports::nodes::{Fence, Lease, LeaseStore, NodeId};

use super::Postgres;
use super::pool::get;

/// Leases in the database.
#[derive(Debug, Clone)]
pub struct PostgresLeases(Postgres);

impl PostgresLeases {
    /// The leases in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl LeaseStore for PostgresLeases {
    async fn acquire(
        &self,
        name: &str,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Option<Fence>, PortError> {
        // Whoever waited for the row sees it as it is now; a row that lives
        // and is somebody else's matches nothing.
        let sql = "INSERT INTO leases AS l (name, holder, fence, expires_at)
            VALUES ($1, $2, nextval('lease_fences'),
                    clock_timestamp() + $3 * interval '1 millisecond')
            ON CONFLICT (name) DO UPDATE SET
                holder = excluded.holder,
                fence = CASE WHEN l.holder = $2 THEN l.fence ELSE excluded.fence END,
                expires_at = clock_timestamp() + $3 * interval '1 millisecond'
            WHERE l.holder IS NULL OR l.holder = $2 OR l.expires_at <= clock_timestamp()
            RETURNING fence";
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        // The operator wants a double.
        #[expect(clippy::cast_precision_loss, reason = "exact below 285,000 years")]
        let ttl_ms = ttl_ms as f64;
        let row = self.0.query_opt(sql, &[&name, &&*node.0, &ttl_ms]).await?;
        row.map(|row| get(&row, 0).map(Fence)).transpose()
    }

    async fn note(&self, name: &str, fence: Fence, note: &str) -> Result<bool, PortError> {
        let sql = "UPDATE leases SET note = $3 WHERE name = $1 AND fence = $2";
        let noted = self.0.execute(sql, &[&name, &fence.0, &note]).await?;
        Ok(noted > 0)
    }

    async fn release(&self, name: &str, fence: Fence) -> Result<(), PortError> {
        let sql = "UPDATE leases SET holder = NULL WHERE name = $1 AND fence = $2";
        self.0.execute(sql, &[&name, &fence.0]).await.map(drop)
    }

    async fn remove(&self, name: &str, fence: Fence) -> Result<bool, PortError> {
        let sql = "DELETE FROM leases WHERE name = $1 AND fence = $2";
        Ok(self.0.execute(sql, &[&name, &fence.0]).await? > 0)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Lease>, PortError> {
        let sql = "SELECT name, holder, fence, note,
                (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::int8 AS left_ms
            FROM leases WHERE starts_with(name, $1) ORDER BY name";
        let rows = self.0.query(sql, &[&prefix]).await?;
        rows.iter()
            .map(|row| {
                let holder: Option<&str> = get(row, "holder")?;
                let left_ms: i64 = get(row, "left_ms")?;
                let left = u64::try_from(left_ms).ok().filter(|ms| *ms > 0);
                let over = (holder.is_some() && left.is_none()).then(|| left_ms.unsigned_abs());
                Ok(Lease {
                    name: get(row, "name")?,
                    left: left.filter(|_| holder.is_some()).map(Duration::from_millis),
                    over: over.map(Duration::from_millis),
                    holder: holder.map(|name| NodeId(name.into())),
                    fence: Fence(get(row, "fence")?),
                    note: get(row, "note")?,
                })
            })
            .collect()
    }

    async fn now(&self) -> Result<Timestamp, PortError> {
        self.0.now().await
    }
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract;

    use super::super::testing::{Engine, on_every_engine, plain};
    use super::*;

    async fn keeps_the_contract(engine: Engine) {
        let database = engine.open().await;
        let pass = async |time: Duration| {
            let sql = "SELECT pg_sleep($1)";
            database.query(sql, &[&time.as_secs_f64()]).await.unwrap();
        };
        contract::lease_store(&PostgresLeases::new(database.clone()), pass).await;
    }
    on_every_engine!(keeps_the_contract);

    #[tokio::test]
    async fn of_many_that_want_it_one_gets_it() {
        let store = PostgresLeases::new(plain().await);
        for round in 0..20 {
            let name = format!("wanted/{round}");
            let take = async |who: &str| {
                let node = NodeId(who.into());
                store.acquire(&name, &node, Duration::from_secs(60)).await
            };
            let (a, b, c, d) = tokio::join!(take("a"), take("b"), take("c"), take("d"));
            let got = [a, b, c, d].into_iter().filter_map(Result::unwrap);
            assert_eq!(got.count(), 1);
        }
    }
}
