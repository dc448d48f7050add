//! Devices in PostgreSQL.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{GenericClient, Transaction};
use dormouse_core::device::{Device, DeviceSettings, DeviceState, Reported};
use dormouse_core::ids::{DeviceId, DeviceKey};
use dormouse_core::ports::{
    DeviceAccess, DeviceStore, DeviceWrites, NewDevice, PortError, StoredDevice, Written,
};
use dormouse_core::secret::DeviceDigest;
use tokio_postgres::types::Json;
use tokio_postgres::{Error, Row};

use super::Postgres;
use super::convert::{Moment, key_from, key_sql, storable, time, unreadable};
use super::pool::{get, in_time};
use crate::store::convert::{access, split_access};

/// Held while devices are written, so that revisions rise in the order of the
/// commits: whoever has seen the newest has seen all before it.
const ONE_WRITER: &str = "SELECT pg_advisory_xact_lock(x'646f7264'::int4, 0)";

const CHANGED_SINCE: &str = "SELECT d.key, d.id, d.state, d.name, d.location, d.sockets,
        d.period_s, d.access, d.salt, d.hash, d.version, d.revision, d.created_at, r.reported
    FROM devices d LEFT JOIN device_reports r ON r.device_key = d.key
    WHERE d.revision > $1 ORDER BY d.revision";

/// Devices in PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresDevices(Postgres);

impl PostgresDevices {
    /// Devices in `database`.
    #[must_use]
    pub const fn new(database: Postgres) -> Self {
        Self(database)
    }
}

#[async_trait]
impl DeviceStore for PostgresDevices {
    async fn changed_since(&self, revision: i64) -> Result<Vec<StoredDevice>, PortError> {
        let rows = self.0.query(CHANGED_SINCE, &[&revision]).await?;
        rows.iter().map(read_device).collect()
    }

    async fn write(&self, writes: DeviceWrites) -> Result<Written, PortError> {
        let mut client = self.0.connection().await?;
        let done = in_time(async {
            let transaction = client.transaction().await?;
            let done = write_devices(&transaction, &writes).await?;
            if done.is_ok() {
                transaction.commit().await?;
            }
            Ok(done)
        });
        Ok(match done.await? {
            Ok(rows) => Written::All(rows.iter().map(read_device).collect::<Result<_, _>>()?),
            Err(refusal) => refusal,
        })
    }

    async fn save_reports(
        &self,
        reports: Vec<(DeviceKey, Arc<Reported>)>,
    ) -> Result<(), PortError> {
        let client = self.0.connection().await?;
        in_time(save_reports(&client, &reports, false)).await
    }

    async fn settle_joined(&self, joined: Vec<(DeviceKey, DeviceDigest)>) -> Result<(), PortError> {
        let mut client = self.0.connection().await?;
        in_time(async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(ONE_WRITER).await?;
            let sql = "UPDATE devices SET access = 'credentials',
                    revision = (SELECT max(revision) + 1 FROM devices)
                WHERE key = $1 AND access = 'joining' AND hash = $2 AND salt = $3";
            let statement = transaction.prepare_cached(sql).await?;
            for (key, digest) in joined {
                let (hash, salt) = (&digest.hash()[..], &digest.salt()[..]);
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
                    [&key_sql(key), &hash, &salt];
                transaction.execute(&statement, &values).await?;
            }
            transaction.commit().await
        })
        .await
    }
}

/// Keeps reports; with `only_newer`, those that were received after the stored
/// ones. Rows are written in the order of their keys.
pub(super) async fn save_reports(
    client: &impl GenericClient,
    reports: &[(DeviceKey, Arc<Reported>)],
    only_newer: bool,
) -> Result<(), Error> {
    // Of several reports of one device the last counts.
    let last: std::collections::BTreeMap<_, _> =
        reports.iter().map(|(key, it)| (*key, it)).collect();
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
async fn write_devices(
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
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
        &ids,
        &created,
        &c.states,
        &c.names,
        &c.locations,
        &c.sockets,
        &c.periods,
        &c.accesses,
        &c.salts,
        &c.hashes,
        &revision,
    ];
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
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 11] = [
        &keys,
        &versions,
        &c.states,
        &c.names,
        &c.locations,
        &c.sockets,
        &c.periods,
        &c.accesses,
        &c.salts,
        &c.hashes,
        &revision,
    ];
    transaction.execute(&statement, &values).await?;
    Ok(())
}

fn read_access(row: &Row) -> Result<DeviceAccess, PortError> {
    let salt: Option<&[u8]> = get(row, "salt")?;
    let hash: Option<&[u8]> = get(row, "hash")?;
    let salt = salt.map(TryInto::try_into).transpose();
    let hash = hash.map(TryInto::try_into).transpose();
    access(
        get(row, "access")?,
        salt.map_err(|_| unreadable("salt"))?,
        hash.map_err(|_| unreadable("hash"))?,
    )
    .ok_or_else(|| unreadable("access"))
}

fn read_device(row: &Row) -> Result<StoredDevice, PortError> {
    let sockets: Option<i16> = get(row, "sockets")?;
    let period_s: Option<i64> = get(row, "period_s")?;
    let version: i64 = get(row, "version")?;
    let reported: Option<Json<Reported>> = get(row, "reported")?;
    Ok(StoredDevice {
        device: Device {
            key: key_from(get(row, "key")?),
            id: DeviceId::parse(get(row, "id")?).map_err(|_| unreadable("id"))?,
            state: DeviceState::from_name(get(row, "state")?).ok_or_else(|| unreadable("state"))?,
            settings: DeviceSettings {
                name: get(row, "name")?,
                location: get(row, "location")?,
                sockets: sockets
                    .map(u8::try_from)
                    .transpose()
                    .map_err(|_| unreadable("sockets"))?,
                period_s: period_s
                    .map(u32::try_from)
                    .transpose()
                    .map_err(|_| unreadable("period_s"))?,
            },
            reported: reported.map(|Json(it)| Arc::new(it)),
            version: version.try_into().map_err(|_| unreadable("version"))?,
            created_at: time(row, "created_at")?,
        },
        access: read_access(row)?,
        revision: get(row, "revision")?,
    })
}

#[cfg(test)]
mod tests {
    use dormouse_core::clock::Timestamp;
    use dormouse_core::contract;
    use dormouse_core::secret::Secret;

    use super::super::testing::{plain, timescale};
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        for database in [plain().await, timescale().await] {
            contract::device_store(&PostgresDevices::new(database)).await;
        }
    }

    fn new(id: &str, state: DeviceState, access: DeviceAccess) -> NewDevice {
        NewDevice {
            id: DeviceId::parse(id).unwrap(),
            state,
            settings: DeviceSettings::default(),
            access,
            created_at: Timestamp::from_millis(1),
        }
    }

    async fn insert(store: &PostgresDevices, insert: Vec<NewDevice>) {
        let swap = Vec::new();
        let written = store.write(DeviceWrites { insert, swap }).await.unwrap();
        assert!(matches!(written, Written::All(_)), "{written:?}");
    }

    /// Whoever has seen a revision has seen all before it, whoever writes.
    #[tokio::test]
    async fn writers_at_once_leave_no_hole_behind_a_reader() {
        let store = PostgresDevices::new(plain().await);
        let write = async |writer: u32| {
            for count in 0..25 {
                let id = format!("strip-{writer}-{count}");
                insert(
                    &store,
                    vec![new(&id, DeviceState::Active, DeviceAccess::None)],
                )
                .await;
            }
        };
        let read = async {
            let (mut seen, mut last) = (0, 0);
            while seen < 100 {
                for device in store.changed_since(last).await.unwrap() {
                    seen += 1;
                    assert_eq!(device.revision, last + 1);
                    last = device.revision;
                }
            }
        };
        tokio::join!(write(1), write(2), write(3), write(4), read);
    }

    #[tokio::test]
    async fn brokers_see_who_may_sign_in() {
        for database in [plain().await, timescale().await] {
            let store = PostgresDevices::new(database.clone());
            let digest = || DeviceDigest::of(&Secret::new("hunter2"));
            let (active, pending) = (DeviceState::Active, DeviceState::Pending);
            insert(
                &store,
                vec![
                    new("own", active, DeviceAccess::Credentials(digest())),
                    new("handed", active, DeviceAccess::Joining(Some(digest()))),
                    new("knocks", pending, DeviceAccess::Joining(None)),
                    new("revoked", active, DeviceAccess::None),
                    new("waits", pending, DeviceAccess::Credentials(digest())),
                    new("no", DeviceState::Rejected, DeviceAccess::Joining(None)),
                ],
            )
            .await;
            let settings = "INSERT INTO settings VALUES ('join-key', 'sesame')";
            database.execute(settings, &[]).await.unwrap();
            // What a broker does with the row: SHA-512 of password and salt.
            let who = async |password: &str| -> Vec<String> {
                let sql = "SELECT username FROM mqtt_credentials WHERE NOT is_superuser
                    AND password_hash = encode(sha512(convert_to($1 || salt, 'UTF8')), 'hex')
                    ORDER BY username";
                let rows = database.query(sql, &[&password]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            };
            assert_eq!(who("hunter2").await, ["handed", "own"]);
            assert_eq!(who("sesame").await, ["knocks"]);
            let closed = "INSERT INTO settings VALUES ('join-mode', 'closed')";
            database.execute(closed, &[]).await.unwrap();
            assert_eq!(who("sesame").await, Vec::<String>::new());
        }
    }
}
