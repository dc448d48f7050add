//! What a watcher may subscribe to.

use crate::ids::DeviceId;
use crate::location;

/// One subject to watch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Every device, and the fleet's totals.
    Fleet,
    /// Every event.
    Events,
    /// One device.
    Device(DeviceId),
    /// The devices of a place: `building`, `building/floor` or `building/floor/room`.
    Location(String),
}

/// A text that is no topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a topic is 'fleet', 'events', 'device:' and a device id, or 'location:' and a place")]
pub struct InvalidTopic;

impl Topic {
    /// Parses the form in which clients write it.
    ///
    /// # Errors
    /// When `text` has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        match text.split_once(':') {
            None if text == "fleet" => Ok(Self::Fleet),
            None if text == "events" => Ok(Self::Events),
            Some(("device", id)) => DeviceId::parse(id)
                .map(Self::Device)
                .map_err(|_| InvalidTopic),
            Some(("location", place)) if !place.is_empty() && location::check(place).is_ok() => {
                Ok(Self::Location(place.to_owned()))
            }
            None | Some(_) => Err(InvalidTopic),
        }
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fleet => f.write_str("fleet"),
            Self::Events => f.write_str("events"),
            Self::Device(id) => write!(f, "device:{id}"),
            Self::Location(place) => write!(f, "location:{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_print_and_parse_back() {
        for text in ["fleet", "events", "device:A-302-strip01", "location:A/3"] {
            assert_eq!(Topic::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_no_topic() {
        for text in [
            "",
            "Fleet",
            "fleet:",
            "device",
            "device:",
            "device:#",
            "location:",
            "location:/A",
            "location:A//3",
            "location:A\n",
            "other:x",
        ] {
            assert_eq!(Topic::parse(text), Err(InvalidTopic), "{text:?}");
        }
    }
}
