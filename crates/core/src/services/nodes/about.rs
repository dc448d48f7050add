//! What a node tells of itself, noted beside its sign of life.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Its version; `None` in its first second.
    pub version: Option<String>,
    /// When it started, by its own clock; `None` in its first second.
    #[serde(with = "moment")]
    pub since: Option<Timestamp>,
    /// Where its page and API are, `host:port`.
    pub address: Option<String>,
    /// The parts that do not work for it, as `/health` names them.
    pub down: Vec<String>,
}

impl About {
    pub(super) fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Nothing is known of a node whose note cannot be read, such as a newer
    /// one's.
    pub(super) fn read(note: Option<&str>) -> Self {
        note.and_then(|note| serde_json::from_str(note).ok())
            .unwrap_or_default()
    }
}

mod moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::clock::Timestamp;

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(|at| at.to_rfc3339()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| Timestamp::parse_rfc3339(&text).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let about = About {
            version: Some("1.2.3".to_owned()),
            since: Some(Timestamp::from_millis(1_767_355_200_000)),
            address: Some("10.0.0.3:8080".to_owned()),
            down: vec!["redis".to_owned()],
        };
        assert_eq!(About::read(Some(&about.write())), about);
    }

    #[test]
    fn a_note_of_another_version_is_read_as_far_as_it_goes() {
        let newer = r#"{"version":"9","load":{"cpu":1},"since":"never"}"#;
        assert_eq!(About::read(Some(newer)).version.as_deref(), Some("9"));
        assert_eq!(About::read(Some("2026-01-01 1.0")), About::default());
        assert_eq!(About::read(None), About::default());
    }
}
