//! The names of keys: a device's, a command's, and the shards of indexes. In
//! braces stands what a Cluster chooses the server by.

use std::sync::Arc;

use dormouse_core::ids::{CommandId, DeviceId, DeviceKey, SocketId};

/// Into how many keys an index is divided.
pub(super) const SHARDS: u8 = 64;
/// How many marks tell whether a server lost its content; spread over the
/// slots, so that each master of a cluster has some.
pub(super) const MARKS: u8 = 16;

/// Makes names behind the configured prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<str>);

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    /// A name behind the prefix.
    pub(super) fn name(&self, rest: &str) -> String {
        format!("{}{rest}", self.0)
    }

    /// Made for every device again and again: without the cost of formatting.
    fn of_device(&self, kind: &str, device: &DeviceId) -> String {
        [&*self.0, kind, ":{", device.as_str(), "}"].concat()
    }

    pub(super) fn ring(&self, device: &DeviceId) -> String {
        self.of_device("ring", device)
    }

    pub(super) fn latest(&self, device: &DeviceId) -> String {
        self.of_device("latest", device)
    }

    pub(super) fn last_seen(&self, device: &DeviceId) -> String {
        self.of_device("lastSeen", device)
    }

    pub(super) fn events(&self, device: &DeviceId) -> String {
        self.of_device("events", device)
    }

    pub(super) fn rate(&self, device: DeviceKey) -> String {
        format!("{}rate:{{{}}}", self.0, device.0)
    }

    pub(super) fn commands(&self, device: &DeviceId) -> String {
        format!("{}device:{{{device}}}:cmds", self.0)
    }

    pub(super) fn last_command(&self, device: &DeviceId, socket: SocketId) -> String {
        format!("{}lastCmd:{{{device}}}:{socket}", self.0)
    }

    pub(super) fn command(&self, id: CommandId) -> String {
        format!("{}cmd:{id}", self.0)
    }

    pub(super) fn deadlines(&self, shard: u8) -> String {
        format!("{}deadlines:{{{shard:02}}}", self.0)
    }

    pub(super) fn seen(&self, shard: u8) -> String {
        format!("{}seen:{{{shard:02}}}", self.0)
    }

    pub(super) fn mark(&self, number: u8) -> String {
        format!("{}mark:{{{number:02}}}", self.0)
    }

    pub(super) fn log(&self) -> String {
        format!("{}{{nodes}}:log", self.0)
    }

    pub(super) fn log_mark(&self) -> String {
        format!("{}{{nodes}}:mark", self.0)
    }

    pub(super) fn hints(&self) -> String {
        format!("{}{{nodes}}:hints", self.0)
    }
}

/// The shard of the deadlines that a command's is in.
pub(super) const fn shard_of_command(id: CommandId) -> u8 {
    id.0.as_bytes()[15] % SHARDS
}

/// The shard of the last signs of life that a device's is in.
pub(super) fn shard_of_device(device: DeviceKey) -> u8 {
    device.0.to_le_bytes()[0] % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_people_look_for_them() {
        let keys = Keys::new("site-b:");
        let device = DeviceId::parse("A-302-strip01").unwrap();
        let socket = SocketId::parse(1).unwrap();
        assert_eq!(keys.ring(&device), "site-b:ring:{A-302-strip01}");
        assert_eq!(
            Keys::new("").commands(&device),
            "device:{A-302-strip01}:cmds"
        );
        assert_eq!(
            Keys::new("").last_command(&device, socket),
            "lastCmd:{A-302-strip01}:1"
        );
        assert_eq!(keys.deadlines(7), "site-b:deadlines:{07}");
    }
}
