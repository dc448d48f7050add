//! Keeping history in bounds and its rollups true. Retention drops whole
//! parts; what is older but in a part with newer rows is hidden by the floor.

use async_trait::async_trait;
use deadpool_postgres::Object;
use dormouse_core::clock::Timestamp;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::{Expired, HistoryUpkeep, Rebuilt, SeriesId, Tier, Usage};
use dormouse_core::site::LocalDay;
use tokio_postgres::types::{ToSql, Type};

use super::super::convert::{key_from, key_sql};
use super::super::pool::{failed, get, in_time};
use super::super::schema::Flavour;
use super::PostgresHistory;
use super::columns::bound;
use super::levels::day;
use super::parts::{self, Part};
use super::read::read_tail;

/// Of each series, the last sample of a stretch of time.
const LAST: &str = "SELECT it.device, it.socket, last.ts \
    FROM unnest($1::int4[], $2::int2[]) AS it (device, socket) \
    CROSS JOIN LATERAL (SELECT ts FROM samples \
        WHERE device = it.device AND socket = it.socket AND ts >= $3 AND ts < $4 \
        ORDER BY ts DESC LIMIT 1) AS last";

#[async_trait]
impl HistoryUpkeep for PostgresHistory {
    async fn usage(&self) -> Result<Usage, PortError> {
        let row = self
            .db
            .query_one("SELECT min(day) - date '1970-01-01' FROM days", &[]);
        let first: Option<i32> = get(&row.await?, 0)?;
        let first_day = match first {
            Some(first) => Some(day(first)),
            None => self.first_pending_day().await?,
        };
        let row = self.db.query_one(self.size_sql(), &[]).await?;
        let bytes: i64 = get(&row, 0)?;
        Ok(Usage {
            bytes: u64::try_from(bytes).unwrap_or(0),
            floors: self.read_floors().await?,
            first_day,
        })
    }

    async fn series(&self) -> Result<Vec<SeriesId>, PortError> {
        let mut all = Vec::new();
        for row in self.tails().await? {
            let device = key_from(get(&row, 0)?);
            let tail = read_tail(&row, 1, device)?;
            all.extend(tail.iter().map(|(socket, _)| SeriesId { device, socket }));
        }
        all.sort_unstable();
        Ok(all)
    }

    async fn expirable(&self, tier: Tier, before: Timestamp) -> Result<u64, PortError> {
        let client = self.db.connection().await?;
        let expired = self.expired_parts(&client, tier, before).await?;
        let mut rows = 0;
        for part in &expired {
            rows += count(&client, part).await?;
        }
        let (Tier::Raw, Some(first), Some(last)) = (tier, expired.first(), expired.last()) else {
            return Ok(rows);
        };
        let series = Columns::of(&self.series().await?);
        let sql = format!(
            "WITH last AS MATERIALIZED ({LAST}) SELECT \
                (SELECT count(*) FROM last CROSS JOIN LATERAL (SELECT FROM samples AS s \
                    WHERE s.device = last.device AND s.socket = last.socket \
                    AND s.ts <= last.ts AND s.ts >= last.ts - interval '5 minutes' \
                    AND s.ts >= $3 AND s.ts < $4) AS kept), \
                (SELECT count(*) FROM last JOIN remnants AS r USING (device, socket) \
                    WHERE r.ts < last.ts - interval '5 minutes')"
        );
        let (from, until) = (bound(first.from), bound(last.until));
        let values = series.values(&from, &until);
        let row = in_time(client.query_typed_one(&sql, &values)).await?;
        let (kept, gone): (i64, i64) = (get(&row, 0)?, get(&row, 1)?);
        Ok(rows.saturating_add_signed(gone - kept))
    }

    async fn expire(&self, tier: Tier, before: Timestamp, _: u64) -> Result<Expired, PortError> {
        let name = match tier {
            Tier::Raw => "raw_floor",
            Tier::Minute => "minute_floor",
        };
        let sql = "INSERT INTO history_facts VALUES ($1, $2::int8::text) \
            ON CONFLICT (name) DO UPDATE \
            SET value = greatest(history_facts.value::int8, excluded.value::int8)::text";
        self.db.execute(sql, &[&name, &before.as_millis()]).await?;
        let mut client = self.db.connection().await?;
        let expired = self.expired_parts(&client, tier, before).await?;
        let Some(oldest) = expired.first() else {
            return Ok(Expired {
                rows: 0,
                done: true,
            });
        };
        let rows = self.drop_oldest(&mut client, tier, oldest).await?;
        Ok(Expired {
            rows,
            done: expired.len() == 1,
        })
    }

    async fn rebuild(&self, series: SeriesId, day: LocalDay) -> Result<Rebuilt, PortError> {
        self.rebuild_day(series, &self.zone.range_of(day)).await
    }
}

impl PostgresHistory {
    /// Every device's tail.
    async fn tails(&self) -> Result<Vec<tokio_postgres::Row>, PortError> {
        let sql = "SELECT device, tail FROM intake WHERE tail IS NOT NULL";
        self.db.query(sql, &[]).await
    }

    async fn first_pending_day(&self) -> Result<Option<LocalDay>, PortError> {
        let mut first = None;
        for row in self.tails().await? {
            let tail = read_tail(&row, 1, key_from(get(&row, 0)?))?;
            let starts = tail
                .iter()
                .filter_map(|(_, it)| it.pending.as_slice().first());
            first = starts.map(|at| at.start).chain(first).min();
        }
        Ok(first.map(|ts| self.zone.day_of(ts)))
    }

    const fn size_sql(&self) -> &'static str {
        match self.flavour {
            Flavour::Plain => {
                "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM ( \
                    SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent IN \
                        ('samples'::regclass, 'minutes'::regclass, 'quarters'::regclass) \
                    UNION ALL SELECT unnest(ARRAY['days', 'intake', 'remnants', 'journals', \
                        'periods']::regclass[])) AS it"
            }
            Flavour::Timescale => {
                "SELECT (coalesce(hypertable_size('samples'), 0) \
                    + coalesce(hypertable_size('minutes'), 0) \
                    + coalesce(hypertable_size('quarters'), 0) \
                    + coalesce(hypertable_size('telemetry_hourly'), 0) \
                    + coalesce(sum(pg_total_relation_size(oid)), 0))::int8 FROM unnest(ARRAY[ \
                        'days', 'intake', 'remnants', 'journals', 'periods']::regclass[]) AS oid"
            }
        }
    }

    /// The parts of a tier that end at or before `before`, oldest first.
    async fn expired_parts(
        &self,
        client: &Object,
        tier: Tier,
        before: Timestamp,
    ) -> Result<Vec<Part>, PortError> {
        let table = match tier {
            Tier::Raw => "samples",
            Tier::Minute => "minutes",
        };
        let mut parts = parts::list(client, self.flavour, table).await?;
        parts.retain(|it| it.until <= before);
        Ok(parts)
    }

    /// Drops the oldest part and answers how many rows are gone.
    async fn drop_oldest(
        &self,
        client: &mut Object,
        tier: Tier,
        part: &Part,
    ) -> Result<u64, PortError> {
        let series = match tier {
            Tier::Raw => Columns::of(&self.series().await?),
            Tier::Minute => Columns::default(),
        };
        let transaction = in_time(client.transaction()).await?;
        in_time(transaction.batch_execute("SET LOCAL statement_timeout = 0")).await?;
        let mut rows = count(transaction.client(), part).await?;
        if tier == Tier::Raw {
            let (from, until) = (bound(part.from), bound(part.until));
            let sql = format!(
                "WITH last AS MATERIALIZED ({LAST}) INSERT INTO remnants SELECT s.* FROM last \
                 CROSS JOIN LATERAL (SELECT ts, energy_dwh, device, power_dw, current_ma, socket, \
                     voltage_dv, power_factor_centi FROM samples AS s \
                     WHERE s.device = last.device AND s.socket = last.socket \
                     AND s.ts <= last.ts AND s.ts >= last.ts - interval '5 minutes' \
                     AND s.ts >= $3 AND s.ts < $4) AS s \
                 ON CONFLICT DO NOTHING"
            );
            let values = series.values(&from, &until);
            let kept = transaction
                .execute_typed(&sql, &values)
                .await
                .map_err(failed)?;
            let sql = "DELETE FROM remnants AS r USING (SELECT device, socket, max(ts) AS ts \
                    FROM remnants GROUP BY device, socket) AS last \
                WHERE r.device = last.device AND r.socket = last.socket \
                    AND r.ts < last.ts - interval '5 minutes'";
            let gone = transaction.execute(sql, &[]).await.map_err(failed)?;
            rows = (rows + gone).saturating_sub(kept);
        }
        parts::drop_part(transaction.client(), self.flavour, part)
            .await
            .map_err(failed)?;
        in_time(transaction.commit()).await?;
        self.known.forget();
        Ok(rows)
    }
}

/// How many rows a part has.
async fn count(client: &tokio_postgres::Client, part: &Part) -> Result<u64, PortError> {
    let sql = format!(
        "SELECT count(*) FROM {} WHERE ts >= $1 AND ts < $2",
        part.table
    );
    let (from, until) = (bound(part.from), bound(part.until));
    let values: [(&(dyn ToSql + Sync), Type); 2] =
        [(&from, Type::TIMESTAMPTZ), (&until, Type::TIMESTAMPTZ)];
    let row = client
        .query_typed_one(&sql, &values)
        .await
        .map_err(failed)?;
    let rows: i64 = get(&row, 0)?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// Series as two parameters.
#[derive(Debug, Default)]
struct Columns {
    device: Vec<i32>,
    socket: Vec<i16>,
}

impl Columns {
    fn of(series: &[SeriesId]) -> Self {
        Self {
            device: series.iter().map(|it| key_sql(it.device)).collect(),
            socket: series.iter().map(|it| it.socket.get().into()).collect(),
        }
    }

    /// With the bounds of a stretch of time, the values of [`LAST`].
    fn values<'a>(
        &'a self,
        from: &'a (dyn ToSql + Sync),
        until: &'a (dyn ToSql + Sync),
    ) -> [(&'a (dyn ToSql + Sync), Type); 4] {
        [
            (&self.device, Type::INT4_ARRAY),
            (&self.socket, Type::INT2_ARRAY),
            (from, Type::TIMESTAMPTZ),
            (until, Type::TIMESTAMPTZ),
        ]
    }
}
