//! A device's row.

use std::sync::Arc;

use dormouse_core::device::{Device, DeviceSettings, DeviceState, Reported};
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{DeviceAccess, PortError, StoredDevice};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::super::convert::{key_from, time, unreadable};
use super::super::pool::get;
use crate::store::convert::access;

pub(super) const CHANGED_SINCE: &str = "SELECT d.key, d.id, d.state, d.name, d.location, d.sockets,
        d.period_s, d.access, d.salt, d.hash, d.version, d.revision, d.created_at, r.reported
    FROM devices d LEFT JOIN device_reports r ON r.device_key = d.key
    WHERE d.revision > $1 ORDER BY d.revision";
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

pub(super) fn read_device(row: &Row) -> Result<StoredDevice, PortError> {
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
