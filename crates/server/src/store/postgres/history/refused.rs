//! Messages that the database refused for what they are, in a table for
//! people to look at.

use std::collections::BTreeMap;

use deadpool_postgres::GenericClient;
use dormouse_core::ports::PortError;
use dormouse_core::ports::intake::RefusedMessage;

use super::super::Postgres;
use super::super::convert::{key_sql, limit, storable};
use super::super::pool::{get, in_time};

/// Messages kept of one device, some 14 h of a strip that reports every 5 s;
/// the oldest give way, so that one strip that is ill for days holds nobody
/// else up.
const OF_DEVICE_MAX: i64 = 10_000;
/// Messages kept in all, give or take a batch; then nothing more is put aside
/// and what comes waits in the journal: so many are ill that somebody must look.
const MAX: i64 = 250_000;

const ADD: &str = "INSERT INTO refused_messages AS it (device, why, message, entry)
    SELECT * FROM unnest($1::int4[], $2::text[], $3::text[], $4::bytea[])
    WHERE (SELECT count(*) FROM refused_messages) < $5
    ON CONFLICT (digest) DO UPDATE
        SET why = excluded.why, refused_at = clock_timestamp(), again = false";
const GIVE_WAY: &str = "DELETE FROM refused_messages AS it
    USING (SELECT DISTINCT unnest($1::int4[]) AS device) AS new
    WHERE it.device = new.device AND it.nr <= (
        SELECT nr FROM refused_messages WHERE device = new.device
        ORDER BY nr DESC OFFSET $2 LIMIT 1)";
const TAKE_UP: &str = "DELETE FROM refused_messages
    WHERE digest IN (SELECT sha256(entry) FROM unnest($1::bytea[]) AS entry)";
const COUNT: &str = "SELECT count(*) FROM refused_messages";
const WANTED: &str = "SELECT entry FROM refused_messages WHERE again ORDER BY nr LIMIT $1";

/// Puts `messages` aside, in `client`'s transaction.
pub(super) async fn put_aside(
    client: &impl GenericClient,
    messages: &[RefusedMessage],
) -> Result<(), PortError> {
    // One statement writes a row once.
    let each: BTreeMap<_, _> = messages.iter().map(|it| (&*it.entry, it)).collect();
    let device: Vec<_> = each.values().map(|it| key_sql(it.device)).collect();
    let why: Vec<_> = each.values().map(|it| storable(&it.why)).collect();
    let message: Vec<_> = each.values().map(|it| storable(&it.shown)).collect();
    let entry: Vec<_> = each.keys().copied().collect();
    let (added, gave_way) = in_time(async {
        let add = client.prepare_cached(ADD).await?;
        let added = client
            .execute(&add, &[&device, &why, &message, &entry, &MAX])
            .await?;
        let give_way = client.prepare_cached(GIVE_WAY).await?;
        let gave_way = client
            .execute(&give_way, &[&device, &OF_DEVICE_MAX])
            .await?;
        Ok((added, gave_way))
    })
    .await?;
    if added != entry.len() as u64 {
        return Err(PortError::unavailable(format!(
            "the table refused_messages holds {MAX} messages: mend what makes the database \
             refuse them and have them tried again, or delete them"
        )));
    }
    if gave_way > 0 {
        metrics::counter!("dormouse_intake_refused_dropped_total").increment(gave_way);
        tracing::warn!(
            messages = gave_way,
            "the oldest refused messages of a device gave way to newer ones"
        );
    }
    Ok(())
}

/// Takes away messages that are kept with `client`'s transaction.
pub(super) async fn take_up(
    client: &impl GenericClient,
    entries: &[Box<[u8]>],
) -> Result<(), PortError> {
    let entries: Vec<&[u8]> = entries.iter().map(|it| &**it).collect();
    let taken = in_time(async {
        let statement = client.prepare_cached(TAKE_UP).await?;
        client.execute(&statement, &[&entries]).await
    })
    .await?;
    if taken == entries.len() as u64 {
        Ok(())
    } else {
        Err(PortError::unavailable(
            "a refused message was taken up meanwhile",
        ))
    }
}

/// How many there are.
pub(super) async fn count(db: &Postgres) -> Result<u64, PortError> {
    let count: i64 = get(&db.query_one(COUNT, &[]).await?, 0)?;
    Ok(count.unsigned_abs())
}

/// Those that a person wants tried again, oldest first.
pub(super) async fn wanted(db: &Postgres, most: usize) -> Result<Vec<Box<[u8]>>, PortError> {
    let rows = db.query(WANTED, &[&limit(most)]).await?;
    let entry = |row| get::<_, &[u8]>(row, 0).map(Into::into);
    rows.iter().map(entry).collect()
}
