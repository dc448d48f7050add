//! How values are written in every database alike.

use std::collections::BTreeMap;

use dormouse_core::clock::Timestamp;
use dormouse_core::event::{Origin, Severity};
use dormouse_core::ids::DeviceId;
use dormouse_core::incident::Returned;
use dormouse_core::ports::DeviceAccess;
use dormouse_core::secret::{DeviceDigest, SALT_LEN};

/// Reads an origin from its kind and name.
pub(super) fn origin(kind: &str, name: Option<String>) -> Option<Origin> {
    Some(match (kind, name) {
        ("user", Some(name)) => Origin::User { name },
        ("token", Some(name)) => Origin::Token { name },
        ("device", _) => Origin::Device,
        ("server", _) => Origin::Server,
        _ => return None,
    })
}

pub(super) const fn severity_code(severity: Severity) -> u8 {
    match severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    }
}

pub(super) const fn severity(code: u8) -> Option<Severity> {
    Some(match code {
        0 => Severity::Info,
        1 => Severity::Warning,
        2 => Severity::Critical,
        _ => return None,
    })
}

/// How a device may sign in, by name, and its digest.
pub(super) const fn split_access(access: &DeviceAccess) -> (&'static str, Option<&DeviceDigest>) {
    match access {
        DeviceAccess::None => ("none", None),
        DeviceAccess::Joining(digest) => ("joining", digest.as_ref()),
        DeviceAccess::Credentials(digest) => ("credentials", Some(digest)),
    }
}

/// Reads back what [`split_access`] wrote.
pub(super) fn access(
    kind: &str,
    salt: Option<[u8; SALT_LEN]>,
    hash: Option<[u8; 64]>,
) -> Option<DeviceAccess> {
    let digest = salt
        .zip(hash)
        .map(|(salt, hash)| DeviceDigest::from_parts(salt, hash));
    Some(match (kind, digest) {
        ("none", _) => DeviceAccess::None,
        ("joining", digest) => DeviceAccess::Joining(digest),
        ("credentials", Some(digest)) => DeviceAccess::Credentials(digest),
        _ => return None,
    })
}

/// An incident's devices as an object from id to the time (unix ms) at which
/// the device was back, or null.
pub(super) fn incident_devices_json(devices: &BTreeMap<DeviceId, Returned>) -> String {
    let object: serde_json::Map<_, _> = devices
        .iter()
        .map(|(id, returned)| {
            let at = match returned {
                Returned::At(at) => at.as_millis().into(),
                Returned::NotYet => serde_json::Value::Null,
            };
            (id.as_str().to_owned(), at)
        })
        .collect();
    serde_json::Value::Object(object).to_string()
}

/// Reads back what [`incident_devices_json`] wrote.
pub(super) fn incident_devices(text: &str) -> Option<BTreeMap<DeviceId, Returned>> {
    let devices: BTreeMap<DeviceId, Option<i64>> = serde_json::from_str(text).ok()?;
    let returned = |at: Option<i64>| {
        at.map_or(Returned::NotYet, |ms| {
            Returned::At(Timestamp::from_millis(ms))
        })
    };
    Some(
        devices
            .into_iter()
            .map(|(id, at)| (id, returned(at)))
            .collect(),
    )
}
