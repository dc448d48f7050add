//! Writing devices and their reports, many in one statement.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use deadpool_postgres::{GenericClient, Transaction};
use dormouse_core::device::{DeviceSettings, DeviceState, Reported};
use dormouse_core::ids::{DeviceId, DeviceKey};
use dormouse_core::ports::{DeviceAccess, DeviceWrites, NewDevice, StoredDevice, Written};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Error, Row};

use super::super::convert::{Moment, key_sql, storable};
use super::row::CHANGED_SINCE;
use crate::store::convert::split_access;

/// Held while devices are written, so that revisions rise in the order of the
/// commits: whoever has seen the newest has seen all before it.
pub(super) const ONE_WRITER: &str = "SELECT pg_advisory_xact_lock(x'646f7264'::int4, 0)";
/// Keeps reports; with `only_newer`, those that were received after the stored
/// ones. Rows are written in the order of their keys.
pub(in super::super) async fn save_reports(
    client: &impl GenericClient,
    reports: &[(DeviceKey, Arc<Reported>)],
    only_newer: bool,
) -> Result<(), Error> {
    // Of several reports of one device the last counts.
    let last: BTreeMap<_, _> = reports.iter().map(|(key, it)| (*key, it)).collect();
    let keys: Vec<_> = last.keys().map(|key| key_sql(*key)).collect();
    let times: Vec<_> = last.values().map(|it| Moment(it.at)).collect();
    let texts: Vec<_> = last.values().map(|it| Json(&***it)).collect();
    let sql = "INSERT INTO device_reports AS r (device_key, received_at, reported)
        SELECT n.* FROM unnest($1::int4[], $2::timestamptz[], $3::json[])
            AS n (device_key, received_at, reported)
        WHERE EXISTS (SELECT FROM devices d WHERE d.key = n.device_key)
        ORDER BY n.device_key
        ON CONFLICT (device_key) DO UPDATE SET
            received_at = excluded.received_at, reported = excluded.reported
        WHERE r.received_at < excluded.received_at
            OR r.received_at = excluded.received_at AND NOT $4";
    let statement = client.prepare_cached(sql).await?;
    client
        .execute(&statement, &[&keys, &times, &texts, &only_newer])
        .await?;
    Ok(())
}

/// The rows as written, or why nothing was.
pub(super) async fn write_devices(
    transaction: &Transaction<'_>,
    writes: &DeviceWrites,
) -> Result<Result<Vec<Row>, Written>, Error> {
    transaction.batch_execute(ONE_WRITER).await?;
    if let Some(taken) = first_taken(transaction, &writes.insert).await? {
        return Ok(Err(Written::Taken(taken)));
    }
    if !all_fresh(transaction, &writes.swap).await? {
        return Ok(Err(Written::Stale));
    }
    let sql = "SELECT coalesce(max(revision), 0) FROM devices";
    let statement = transaction.prepare_cached(sql).await?;
    let revision: i64 = transaction.query_one(&statement, &[]).await?.get(0);
    insert(transaction, &writes.insert, revision).await?;
    let inserted = i64::try_from(writes.insert.len()).unwrap_or(i64::MAX);
    swap(transaction, &writes.swap, revision + inserted).await?;
    let statement = transaction.prepare_cached(CHANGED_SINCE).await?;
    Ok(Ok(transaction.query(&statement, &[&revision]).await?))
}

async fn first_taken(
    transaction: &Transaction<'_>,
    insert: &[NewDevice],
) -> Result<Option<DeviceId>, Error> {
    let ids: Vec<&str> = insert.iter().map(|new| new.id.as_str()).collect();
    let sql = "SELECT id FROM devices WHERE id = ANY($1) AND state <> 'deleted'";
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, &[&ids]).await?;
    let mut taken: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
    let first = insert.iter().find(|new| !taken.insert(new.id.as_str()));
    Ok(first.map(|new| new.id.clone()))
}

async fn all_fresh(transaction: &Transaction<'_>, swap: &[StoredDevice]) -> Result<bool, Error> {
    let keys: Vec<i32> = swap.iter().map(|it| key_sql(it.device.key)).collect();
    let sql = "SELECT key, version FROM devices WHERE key = ANY($1)";
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, &[&keys]).await?;
    let versions: HashMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(swap.iter().all(|next| {
        let stored = versions.get(&key_sql(next.device.key));
        stored.is_some_and(|version| version + 1 == i64::from(next.device.version))
    }))
}

type Value<'v> = &'v (dyn ToSql + Sync);

/// Columns that insertions and swaps share, one value per device.
#[derive(Default)]
struct Columns<'a> {
    states: Vec<&'static str>,
    names: Vec<Cow<'a, str>>,
    locations: Vec<Cow<'a, str>>,
    sockets: Vec<Option<i16>>,
    periods: Vec<Option<i64>>,
    accesses: Vec<&'static str>,
    salts: Vec<Option<&'a [u8]>>,
    hashes: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, state: DeviceState, settings: &'a DeviceSettings, access: &'a DeviceAccess) {
        let (kind, digest) = split_access(access);
        self.states.push(state.as_str());
        self.names.push(storable(&settings.name));
        self.locations.push(storable(&settings.location));
        self.sockets.push(settings.sockets.map(i16::from));
        self.periods.push(settings.period_s.map(i64::from));
        self.accesses.push(kind);
        self.salts.push(digest.map(|it| &it.salt()[..]));
        self.hashes.push(digest.map(|it| &it.hash()[..]));
    }

    /// The values of a statement that has two columns of its own before these,
    /// and the revision behind them.
    fn values<'v>(
        &'v self,
        [first, second]: [Value<'v>; 2],
        revision: Value<'v>,
    ) -> [Value<'v>; 11] {
        [
            first,
            second,
            &self.states,
            &self.names,
            &self.locations,
            &self.sockets,
            &self.periods,
            &self.accesses,
            &self.salts,
            &self.hashes,
            revision,
        ]
    }
}

async fn insert(
    transaction: &Transaction<'_>,
    devices: &[NewDevice],
    revision: i64,
) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut c = Columns::default();
    for new in devices {
        c.add(new.state, &new.settings, &new.access);
    }
    let ids: Vec<&str> = devices.iter().map(|new| new.id.as_str()).collect();
    let created: Vec<_> = devices.iter().map(|new| Moment(new.created_at)).collect();
    let sql = "INSERT INTO devices (id, created_at, state, name, location, sockets, period_s,
            access, salt, hash, version, revision)
        SELECT id, created_at, state, name, location, sockets, period_s, access, salt, hash,
               1, $11 + nr
        FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[],
                    $6::int2[], $7::int8[], $8::text[], $9::bytea[], $10::bytea[])
            WITH ORDINALITY AS n (id, created_at, state, name, location, sockets, period_s,
                                  access, salt, hash, nr)
        ORDER BY nr";
    let statement = transaction.prepare_cached(sql).await?;
    let values = c.values([&ids, &created], &revision);
    transaction.execute(&statement, &values).await?;
    Ok(())
}

async fn swap(
    transaction: &Transaction<'_>,
    devices: &[StoredDevice],
    revision: i64,
) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut c = Columns::default();
    for next in devices {
        c.add(next.device.state, &next.device.settings, &next.access);
    }
    let device = |it: &StoredDevice| (key_sql(it.device.key), i64::from(it.device.version));
    let (keys, versions): (Vec<i32>, Vec<i64>) = devices.iter().map(device).unzip();
    let sql = "UPDATE devices d SET version = n.version, state = n.state, name = n.name,
            location = n.location, sockets = n.sockets, period_s = n.period_s,
            access = n.access, salt = n.salt, hash = n.hash, revision = $11 + n.nr
        FROM unnest($1::int4[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::int2[],
                    $7::int8[], $8::text[], $9::bytea[], $10::bytea[])
            WITH ORDINALITY AS n (key, version, state, name, location, sockets, period_s,
                                  access, salt, hash, nr)
        WHERE d.key = n.key";
    let statement = transaction.prepare_cached(sql).await?;
    let values = c.values([&keys, &versions], &revision);
    transaction.execute(&statement, &values).await?;
    Ok(())
}
