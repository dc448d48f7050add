//! Devices and the site's settings in `dormouse.db`.

use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::device::{Device, DeviceSettings, DeviceState, Reported};
use dormouse_core::ids::{DeviceId, DeviceKey};
use dormouse_core::ports::{
    DeviceAccess, DeviceStore, DeviceWrites, NewDevice, PortError, Setting, SettingStore,
    StoredDevice, Written,
};
use dormouse_core::secret::DeviceDigest;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::SqliteFile;
use super::convert::{time, unreadable};
use crate::store::convert::{access, split_access};

/// Devices in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqliteDevices(SqliteFile);

impl SqliteDevices {
    /// Devices in `file`.
    #[must_use]
    pub const fn new(file: SqliteFile) -> Self {
        Self(file)
    }
}

#[async_trait]
impl DeviceStore for SqliteDevices {
    async fn changed_since(&self, revision: i64) -> Result<Vec<StoredDevice>, PortError> {
        self.0
            .read(move |db| {
                let sql = "SELECT * FROM devices WHERE revision > ?1 ORDER BY revision";
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement.query_map([revision], read_device)?;
                rows.collect()
            })
            .await
    }

    async fn write(&self, writes: DeviceWrites) -> Result<Written, PortError> {
        self.0.write(move |db| write_devices(db, writes)).await
    }

    async fn save_reports(
        &self,
        reports: Vec<(DeviceKey, Arc<Reported>)>,
    ) -> Result<(), PortError> {
        let texts = reports
            .into_iter()
            .map(|(key, reported)| Ok((key, serde_json::to_string(&*reported)?)))
            .collect::<Result<Vec<_>, serde_json::Error>>()
            .map_err(|error| PortError::Corrupt(error.to_string()))?;
        self.0
            .write(move |db| {
                let sql = "UPDATE devices SET reported = ?2 WHERE key = ?1";
                let mut statement = db.prepare_cached(sql)?;
                for (key, text) in texts {
                    statement.execute(params![key.0, text])?;
                }
                Ok(())
            })
            .await
    }

    async fn settle_joined(&self, joined: Vec<(DeviceKey, DeviceDigest)>) -> Result<(), PortError> {
        self.0
            .write(move |db| {
                let sql = "UPDATE devices SET access = 'credentials', \
                    revision = (SELECT max(revision) + 1 FROM devices) \
                    WHERE key = ?1 AND access = 'joining' AND hash = ?2 AND salt = ?3";
                let mut statement = db.prepare_cached(sql)?;
                for (key, digest) in joined {
                    statement.execute(params![key.0, digest.hash(), digest.salt()])?;
                }
                Ok(())
            })
            .await
    }
}

fn write_devices(db: &Connection, writes: DeviceWrites) -> rusqlite::Result<Written> {
    let DeviceWrites { insert, swap } = writes;
    if let Some(taken) = first_taken(db, &insert)? {
        return Ok(Written::Taken(taken));
    }
    for next in &swap {
        let sql = "SELECT version FROM devices WHERE key = ?1";
        let version: Option<u32> = db
            .prepare_cached(sql)?
            .query_row([next.device.key.0], |row| row.get(0))
            .optional()?;
        if version.and_then(|it| it.checked_add(1)) != Some(next.device.version) {
            return Ok(Written::Stale);
        }
    }
    let sql = "SELECT coalesce(max(revision), 0) FROM devices";
    let mut revision: i64 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let mut written = Vec::with_capacity(insert.len() + swap.len());
    for new in insert {
        revision += 1;
        written.push(insert_device(db, &new, revision)?);
    }
    for next in swap {
        revision += 1;
        written.push(swap_device(db, &next, revision)?);
    }
    Ok(Written::All(written))
}

fn first_taken(db: &Connection, insert: &[NewDevice]) -> rusqlite::Result<Option<DeviceId>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM devices WHERE id = ?1 AND state <> 'deleted')";
    let mut statement = db.prepare_cached(sql)?;
    let mut seen = std::collections::HashSet::with_capacity(insert.len());
    for new in insert {
        let taken: bool = statement.query_row([new.id.as_str()], |row| row.get(0))?;
        if taken || !seen.insert(&new.id) {
            return Ok(Some(new.id.clone()));
        }
    }
    Ok(None)
}

fn insert_device(
    db: &Connection,
    new: &NewDevice,
    revision: i64,
) -> rusqlite::Result<StoredDevice> {
    let sql = "INSERT INTO devices (id, state, name, location, sockets, period_s, access, salt, \
        hash, version, revision, created_at) VALUES (:id, :state, :name, :location, :sockets, \
        :period_s, :access, :salt, :hash, 1, :revision, :created_at) RETURNING *";
    let (access, digest) = split_access(&new.access);
    db.prepare_cached(sql)?.query_row(
        named_params! {
            ":id": new.id.as_str(),
            ":state": new.state.as_str(),
            ":name": new.settings.name,
            ":location": new.settings.location,
            ":sockets": new.settings.sockets,
            ":period_s": new.settings.period_s,
            ":access": access,
            ":salt": digest.map(DeviceDigest::salt),
            ":hash": digest.map(DeviceDigest::hash),
            ":revision": revision,
            ":created_at": new.created_at.as_millis(),
        },
        read_device,
    )
}

fn swap_device(
    db: &Connection,
    next: &StoredDevice,
    revision: i64,
) -> rusqlite::Result<StoredDevice> {
    let sql = "UPDATE devices SET state = :state, name = :name, location = :location, \
        sockets = :sockets, period_s = :period_s, access = :access, salt = :salt, hash = :hash, \
        version = :version, revision = :revision WHERE key = :key RETURNING *";
    let (access, digest) = split_access(&next.access);
    let settings = &next.device.settings;
    db.prepare_cached(sql)?.query_row(
        named_params! {
            ":key": next.device.key.0,
            ":state": next.device.state.as_str(),
            ":name": settings.name,
            ":location": settings.location,
            ":sockets": settings.sockets,
            ":period_s": settings.period_s,
            ":access": access,
            ":salt": digest.map(DeviceDigest::salt),
            ":hash": digest.map(DeviceDigest::hash),
            ":version": next.device.version,
            ":revision": revision,
        },
        read_device,
    )
}

fn read_access(row: &Row<'_>) -> rusqlite::Result<DeviceAccess> {
    let kind: String = row.get("access")?;
    let salt: Option<[u8; 12]> = row.get("salt")?;
    let hash: Option<[u8; 64]> = row.get("hash")?;
    access(&kind, salt, hash).ok_or_else(|| unreadable("access"))
}

fn read_device(row: &Row<'_>) -> rusqlite::Result<StoredDevice> {
    let id: String = row.get("id")?;
    let state: String = row.get("state")?;
    let reported: Option<String> = row.get("reported")?;
    let reported = reported
        .map(|text| serde_json::from_str(&text).map(Arc::new))
        .transpose()
        .map_err(|_| unreadable("reported"))?;
    Ok(StoredDevice {
        device: Device {
            key: DeviceKey(row.get("key")?),
            id: DeviceId::parse(&id).map_err(|_| unreadable("id"))?,
            state: DeviceState::from_name(&state).ok_or_else(|| unreadable("state"))?,
            settings: DeviceSettings {
                name: row.get("name")?,
                location: row.get("location")?,
                sockets: row.get("sockets")?,
                period_s: row.get("period_s")?,
            },
            reported,
            version: row.get("version")?,
            created_at: time(row, "created_at")?,
        },
        access: read_access(row)?,
        revision: row.get("revision")?,
    })
}

/// The site's settings in `dormouse.db`.
#[derive(Debug, Clone)]
pub struct SqliteSettings(SqliteFile);

impl SqliteSettings {
    /// Settings in `file`.
    #[must_use]
    pub const fn new(file: SqliteFile) -> Self {
        Self(file)
    }
}

#[async_trait]
impl SettingStore for SqliteSettings {
    async fn get(&self, setting: Setting) -> Result<Option<String>, PortError> {
        self.0
            .read(move |db| {
                db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?
                    .query_row([setting.as_str()], |row| row.get(0))
                    .optional()
            })
            .await
    }

    async fn set(&self, setting: Setting, value: String) -> Result<(), PortError> {
        self.0
            .write(move |db| {
                let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2) \
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                let mut statement = db.prepare_cached(sql)?;
                statement
                    .execute(params![setting.as_str(), value])
                    .map(drop)
            })
            .await
    }

    async fn get_or_set(&self, setting: Setting, value: String) -> Result<String, PortError> {
        self.0
            .write(move |db| {
                let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2) \
                    ON CONFLICT (name) DO UPDATE SET value = value RETURNING value";
                let mut statement = db.prepare_cached(sql)?;
                statement.query_row(params![setting.as_str(), value], |row| row.get(0))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use dormouse_core::contract;

    use super::super::testing::dormouse_db;
    use super::*;

    #[tokio::test]
    async fn keeps_the_contracts() {
        let (_dir, file) = dormouse_db();
        contract::device_store(&SqliteDevices::new(file.clone())).await;
        contract::setting_store(&SqliteSettings::new(file)).await;
    }
}
