//! The topic grammar: `{root}/{deviceId}/{channel}`, parsed and printed here
//! and nowhere else.

use crate::ids::DeviceId;

/// The topic root unless configured otherwise.
pub const DEFAULT_ROOT: &str = "dorm";

/// What a topic carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A device's report of itself and its sockets; retained, also its will.
    Status,
    /// One sample or an array of them.
    Telemetry,
    /// The verdict on one command.
    Ack,
    /// Something that happened at the device.
    Event,
    /// One command, from the server.
    Cmd,
    /// Credentials for a device that joined with a key, from the server.
    Enrol,
}

impl Channel {
    /// The last level of the topic.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Telemetry => "telemetry",
            Self::Ack => "ack",
            Self::Event => "event",
            Self::Cmd => "cmd",
            Self::Enrol => "enrol",
        }
    }

    /// Whether devices publish on it (the server publishes on the others).
    #[must_use]
    pub const fn is_from_device(self) -> bool {
        match self {
            Self::Status | Self::Telemetry | Self::Ack | Self::Event => true,
            Self::Cmd | Self::Enrol => false,
        }
    }

    fn parse(level: &str) -> Option<Self> {
        Some(match level {
            "status" => Self::Status,
            "telemetry" => Self::Telemetry,
            "ack" => Self::Ack,
            "event" => Self::Event,
            "cmd" => Self::Cmd,
            "enrol" => Self::Enrol,
            _ => return None,
        })
    }
}

/// The grammar under one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    root: String,
}

/// A text that cannot be a topic root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a topic root is 1 to 64 characters without '+', '#', a leading '$' or an empty level")]
pub struct InvalidRoot;

impl Default for Topics {
    fn default() -> Self {
        Self {
            root: DEFAULT_ROOT.to_owned(),
        }
    }
}

impl Topics {
    /// The grammar under `root`, which may have several levels.
    ///
    /// # Errors
    /// When `root` cannot be one.
    pub fn new(root: &str) -> Result<Self, InvalidRoot> {
        let ok = (1..=64).contains(&root.len())
            && !root.starts_with('$')
            && !root.contains(['+', '#', '\0'])
            && root.split('/').all(|level| !level.is_empty());
        if ok {
            Ok(Self {
                root: root.to_owned(),
            })
        } else {
            Err(InvalidRoot)
        }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The topic of `channel` of `device`.
    #[must_use]
    pub fn of(&self, device: &DeviceId, channel: Channel) -> String {
        format!("{}/{device}/{}", self.root, channel.as_str())
    }

    /// Splits `topic` into the device's id (unchecked text) and the channel.
    #[must_use]
    pub fn split<'t>(&self, topic: &'t str) -> Option<(&'t str, Channel)> {
        let rest = topic.strip_prefix(self.root.as_str())?.strip_prefix('/')?;
        let (device, level) = rest.split_once('/')?;
        Some((device, Channel::parse(level)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_print_and_parse_back() {
        let topics = Topics::new("site/dorm").unwrap();
        let device = DeviceId::parse("A-302-strip01").unwrap();
        for channel in [
            Channel::Status,
            Channel::Telemetry,
            Channel::Ack,
            Channel::Event,
            Channel::Cmd,
            Channel::Enrol,
        ] {
            let topic = topics.of(&device, channel);
            assert_eq!(topics.split(&topic), Some((device.as_str(), channel)));
        }
    }

    #[test]
    fn foreign_topics_are_none() {
        let topics = Topics::default();
        for topic in [
            "",
            "dorm",
            "dorm/x",
            "dorm/x/other",
            "dormx/y/status",
            "dorm/x/status/y",
            "$SYS/x/status",
        ] {
            assert_eq!(topics.split(topic), None, "{topic}");
        }
    }

    #[test]
    fn a_root_has_no_wildcards_and_no_empty_levels() {
        for bad in ["", "/", "a/", "+", "a/#", "$SYS"] {
            assert_eq!(Topics::new(bad), Err(InvalidRoot), "{bad}");
        }
    }
}
