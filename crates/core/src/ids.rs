//! Identifiers as parsed newtypes: a value of one of these types is valid.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest device id, in bytes.
pub const DEVICE_ID_MAX: usize = 32;
/// The highest socket number on one strip.
pub const SOCKET_MAX: u8 = 32;

/// A device's public name: `[A-Za-z0-9][A-Za-z0-9._-]{0,31}`, case-sensitive,
/// never changed. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(Arc<str>);

/// A text that is not a device id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a device id is 1 to 32 characters, letters, digits, '.', '_' or '-', and starts with a letter or digit"
)]
pub struct InvalidDeviceId;

impl DeviceId {
    /// Checks the rule and wraps `text`.
    ///
    /// # Errors
    /// When `text` breaks the rule.
    pub fn parse(text: &str) -> Result<Self, InvalidDeviceId> {
        let bytes = text.as_bytes();
        let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let all_allowed = bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if starts_well && all_allowed && bytes.len() <= DEVICE_ID_MAX {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDeviceId)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Equal, ordered and hashed like its text, so that maps find it by that.
impl Borrow<str> for DeviceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for DeviceId {
    type Error = InvalidDeviceId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.as_str().to_owned()
    }
}

/// A device's integer key inside the platform; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceKey(pub u32);

/// A map by device. Keys are given out by us, one after another: nobody can
/// choose them so that they collide, and hashing them may cost next to nothing.
pub type DeviceKeyMap<V> = HashMap<DeviceKey, V, BuildHasherDefault<DeviceKeyHasher>>;

/// Hashes a [`DeviceKey`] by one multiplication, which spreads its lowest bits
/// over the highest.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeviceKeyHasher(u64);

impl Hasher for DeviceKeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32((*byte).into());
        }
    }

    fn write_u32(&mut self, key: u32) {
        // 2^64 over the golden ratio, made odd.
        self.0 = (self.0 ^ u64::from(key)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A socket's number on its strip: 1 to [`SOCKET_MAX`]; 0 is the whole strip.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "u64", into = "u8")]
pub struct SocketId(u8);

/// A number that is no socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a socket number is 1 to 32, or 0 for the whole strip")]
pub struct InvalidSocketId;

impl SocketId {
    /// The whole strip.
    pub const STRIP: Self = Self(0);

    /// Checks the range and wraps `number`.
    ///
    /// # Errors
    /// When `number` is over [`SOCKET_MAX`].
    pub fn parse(number: u64) -> Result<Self, InvalidSocketId> {
        u8::try_from(number)
            .ok()
            .filter(|n| *n <= SOCKET_MAX)
            .map(Self)
            .ok_or(InvalidSocketId)
    }

    /// The number; 0 for the whole strip.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether this is the whole strip rather than one socket.
    #[must_use]
    pub const fn is_strip(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<u64> for SocketId {
    type Error = InvalidSocketId;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        Self::parse(number)
    }
}

impl From<SocketId> for u8 {
    fn from(id: SocketId) -> Self {
        id.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Parses the hyphenated form.
            ///
            /// # Errors
            /// When `text` is not a UUID.
            pub fn parse(text: &str) -> Result<Self, InvalidUuid> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidUuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID")]
pub struct InvalidUuid;

uuid_id!(
    /// One command; a `UUIDv7`, never reused.
    CommandId
);
uuid_id!(
    /// A batch of commands; a `UUIDv7`.
    BatchId
);
uuid_id!(
    /// One event; a `UUIDv7`, made where the event enters the platform.
    EventId
);
uuid_id!(
    /// Several events with one cause; a `UUIDv7`.
    IncidentId
);

/// Makes a `UUIDv7` for the moment `now`, random below the millisecond.
#[must_use]
pub fn uuid_v7(now: crate::clock::Timestamp) -> Uuid {
    let ms = u64::try_from(now.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &rand::random()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_short_plain_and_starts_with_a_letter_or_digit() {
        for good in ["A", "A-302-strip01", "7.b_c", &"x".repeat(32)] {
            assert_eq!(DeviceId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "-a",
            ".a",
            "a/b",
            "a+b",
            "#",
            "a b",
            "é",
            &"x".repeat(33),
        ] {
            assert_eq!(DeviceId::parse(bad), Err(InvalidDeviceId), "{bad:?}");
        }
    }

    #[test]
    fn socket_numbers_end_at_32() {
        assert!(SocketId::parse(0).unwrap().is_strip());
        assert_eq!(SocketId::parse(32).unwrap().get(), 32);
        assert_eq!(SocketId::parse(33), Err(InvalidSocketId));
    }
}
