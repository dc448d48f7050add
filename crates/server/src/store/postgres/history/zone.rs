//! Days follow the site's zone: they are sums of quarter-hours, which are
//! kept for ever, and are derived again when the zone is another.

use dormouse_core::ports::PortError;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

use super::super::convert::Moment;
use super::super::pool::in_time;
use super::PostgresHistory;
use super::levels::hour_of;

const DAY: &str = "INSERT INTO days (day, device, socket, count, covered_ms, power_min_dw, \
        power_max_dw, power_dwms, metered_dwh, bridged_dwh, reset_dwh, rolled_back_dwh, \
        implausible_dwh, integrated_dwms) \
    SELECT date '1970-01-01' + $1::int4, device, socket, sum(count), sum(covered_ms), \
        min(power_min_dw), max(power_max_dw), sum(power_dwms), sum(metered_dwh), \
        sum(bridged_dwh), sum(reset_dwh), sum(rolled_back_dwh), sum(implausible_dwh), \
        sum(integrated_dwms) \
    FROM quarters WHERE hour >= $2 AND hour < $3 \
        AND hour + quarter * interval '15 minutes' >= $4 \
        AND hour + quarter * interval '15 minutes' < $5 \
    GROUP BY device, socket";

impl PostgresHistory {
    /// Derives the days again where they were made with another zone.
    pub(super) async fn keep_zone(&self) -> Result<(), PortError> {
        let zone = self.zone.name();
        let note = "INSERT INTO history_facts VALUES ('zone', $1) ON CONFLICT DO NOTHING";
        self.db.execute(note, &[&zone]).await?;
        let same = "SELECT FROM history_facts WHERE name = 'zone' AND value = $1";
        if self.db.query_opt(same, &[&zone]).await?.is_some() {
            return Ok(());
        }
        let mut client = self.db.connection().await?;
        let transaction = in_time(client.transaction()).await?;
        // Others wait with their batches: what they add would be lost.
        let begin = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
            LOCK TABLE days IN EXCLUSIVE MODE";
        in_time(transaction.batch_execute(begin)).await?;
        let derived = self.derive_days(transaction.client()).await;
        derived.map_err(super::super::pool::failed)?;
        in_time(transaction.commit()).await?;
        tracing::info!(zone, "days derived again for another time zone");
        Ok(())
    }

    async fn derive_days(&self, client: &Client) -> Result<(), Error> {
        let zone = self.zone.name();
        let sql = "UPDATE history_facts SET value = $1 WHERE name = 'zone' AND value <> $1";
        if client.execute(sql, &[&zone]).await? == 0 {
            return Ok(());
        }
        client.batch_execute("DELETE FROM days").await?;
        let row = client
            .query_one("SELECT min(hour), max(hour) FROM quarters", &[])
            .await?;
        let (Some(Moment(first)), Some(Moment(last))) = (row.get(0), row.get(1)) else {
            return Ok(());
        };
        let derive = client.prepare(DAY).await?;
        // The last hour's later quarters may belong to the day after.
        let last = self.zone.day_of(last).plus(1);
        let mut day = self.zone.day_of(first);
        while day <= last {
            let range = self.zone.range_of(day);
            let hours = [hour_of(range.start), range.end].map(Moment);
            let bounds = [range.start, range.end].map(Moment);
            let values: [&(dyn ToSql + Sync); 5] =
                [&day.number(), &hours[0], &hours[1], &bounds[0], &bounds[1]];
            client.execute(&derive, &values).await?;
            day = day.plus(1);
        }
        Ok(())
    }
}
