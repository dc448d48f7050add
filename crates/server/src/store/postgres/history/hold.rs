//! A transaction that holds devices: nobody else takes their messages in
//! until it ends.

use std::collections::BTreeMap;

use deadpool_postgres::Object;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::history::Floors;
use dormouse_core::ports::intake::{InboxVersion, StoredInbox};
use dormouse_core::rollup::Tail;
use tokio_postgres::{Error, Row};

use super::super::convert::{key_from, key_sql};
use super::super::pool::{Postgres, get, in_time};

/// Rows are locked in the order of their keys, whoever locks them, so that two
/// transactions never wait for each other.
const LOCK: &str = "SELECT it.device, it.version, \
        CASE WHEN it.version <> known.version THEN coalesce(it.inbox, '') END, it.tail \
    FROM unnest($1::int4[], $2::int8[]) AS known (device, version) \
    JOIN intake AS it ON it.device = known.device \
    ORDER BY it.device FOR UPDATE OF it";
const ADD: &str = "INSERT INTO intake (device) SELECT device FROM unnest($1::int4[]) AS device \
    ORDER BY device ON CONFLICT DO NOTHING";
const FLOORS: &str =
    "SELECT name, value FROM history_facts WHERE name IN ('raw_floor', 'minute_floor')";

/// An open transaction; dropped before its end it is undone.
#[derive(Debug)]
pub(super) struct Hold {
    client: Option<Object>,
    /// What may be read and written.
    pub(super) floors: Floors,
    /// Of each held device.
    pub(super) tails: BTreeMap<DeviceKey, Tail>,
    /// The inboxes whose version is another than the caller knew.
    pub(super) changed: Vec<StoredInbox>,
}

impl Hold {
    /// Begins a transaction that holds `devices`, each once.
    pub(super) async fn begin(
        db: &Postgres,
        devices: &[(DeviceKey, InboxVersion)],
    ) -> Result<Self, PortError> {
        let keys: Vec<i32> = devices.iter().map(|(key, _)| key_sql(*key)).collect();
        let versions: Vec<i64> = devices.iter().map(|(_, version)| *version).collect();
        for _ in 0..2 {
            let mut hold = Self::open(db.connection().await?);
            let rows = in_time(hold.lock(&keys, &versions)).await;
            if rows.is_err() {
                db.note_batch(&rows);
            }
            let rows = rows?;
            if rows.len() == keys.len() {
                hold.read(&rows)?;
                return Ok(hold);
            }
            // Added on their own: who holds some devices must not wait for others.
            in_time(hold.roll_back()).await?;
            db.execute(ADD, &[&keys]).await?;
        }
        Err(PortError::Corrupt("rows of `intake` vanish".into()))
    }

    fn open(client: Object) -> Self {
        Self {
            client: Some(client),
            floors: Floors::default(),
            tails: BTreeMap::new(),
            changed: Vec::new(),
        }
    }

    /// The connection that the transaction is on.
    pub(super) fn client(&self) -> Result<&Object, PortError> {
        self.client
            .as_ref()
            .ok_or_else(|| PortError::unavailable("the transaction has ended"))
    }

    /// Begins, locks and reads the floors, all in one go.
    async fn lock(&mut self, keys: &[i32], versions: &[i64]) -> Result<Vec<Row>, Error> {
        let Some(client) = &self.client else {
            return Ok(Vec::new());
        };
        let lock = client.prepare_cached(LOCK).await?;
        let floors = client.prepare_cached(FLOORS).await?;
        let (_, rows, floors) = futures_util::future::try_join3(
            client.batch_execute("BEGIN"),
            client.query(&lock, &[&keys, &versions]),
            client.query(&floors, &[]),
        )
        .await?;
        self.floors = read_floors(&floors);
        Ok(rows)
    }

    fn read(&mut self, rows: &[Row]) -> Result<(), PortError> {
        for row in rows {
            let device = key_from(get(row, 0)?);
            let inbox: Option<&[u8]> = get(row, 2)?;
            if let Some(bytes) = inbox {
                self.changed.push(StoredInbox {
                    device,
                    version: get(row, 1)?,
                    bytes: bytes.into(),
                });
            }
            let tail: Option<&[u8]> = get(row, 3)?;
            let tail = Tail::decode(tail.unwrap_or_default()).ok_or_else(|| {
                PortError::Corrupt(format!(
                    "column intake.tail of device {}: damaged, or of a newer version",
                    device.0
                ))
            })?;
            self.tails.insert(device, tail);
        }
        Ok(())
    }

    /// Undoes the transaction: the connection goes back to the pool.
    pub(super) async fn roll_back(mut self) -> Result<(), Error> {
        if let Some(client) = &self.client {
            client.batch_execute("ROLLBACK").await?;
        }
        // The connection is as good as new.
        drop(self.client.take());
        Ok(())
    }

    /// The transaction has ended: the connection goes back to the pool.
    pub(super) fn ended(mut self) {
        drop(self.client.take());
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // A closed connection's transaction is undone by the server.
            drop(Object::take(client));
        }
    }
}

/// How far back history reaches, from rows of `history_facts`.
pub(super) fn read_floors(facts: &[Row]) -> Floors {
    let mut floors = Floors::default();
    for row in facts {
        let (Ok(name), Ok(value)) = (row.try_get::<_, &str>(0), row.try_get::<_, &str>(1)) else {
            continue;
        };
        let floor = value.parse().ok().map(Timestamp::from_millis);
        match name {
            "raw_floor" => floors.raw = floor,
            "minute_floor" => floors.minute = floor,
            _ => {}
        }
    }
    floors
}
