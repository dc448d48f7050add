//! What a client may send.

use dormouse_core::live::{ErrorMessage, Topic};
use serde::Deserialize;
use utoipa::ToSchema;

/// The longest message, in bytes.
pub(super) const SIZE_MAX: usize = 64 * 1024;
/// The most topics of one subscription.
const TOPICS_MAX: usize = 500;

/// The one message that clients send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscribe {
    /// `subscribe`.
    #[serde(rename = "type")]
    #[schema(value_type = SubscribeType)]
    kind: String,
    /// What to watch: `fleet`, `events`, `device:A-302-strip01`, `location:A/3`;
    /// at most 500.
    #[schema(max_items = 500)]
    topics: Vec<String>,
}

/// The only type of message there is.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes the field in the document")]
enum SubscribeType {
    Subscribe,
}

/// Reads a message; says which field broke which rule.
pub(super) fn parse(text: &str) -> Result<Vec<Topic>, ErrorMessage> {
    let mut json = serde_json::Deserializer::from_str(text);
    let request: Subscribe = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = match error.path().to_string().as_str() {
            "." => String::new(),
            path => format!("/{}", path.replace('.', "/")),
        };
        broken(pointer, error.into_inner().to_string())
    })?;
    json.end()
        .map_err(|error| broken(String::new(), error.to_string()))?;
    if request.kind != "subscribe" {
        return Err(broken("/type", "must be 'subscribe'"));
    }
    if request.topics.len() > TOPICS_MAX {
        return Err(broken("/topics", format!("at most {TOPICS_MAX} topics")));
    }
    let topics = request.topics.iter().enumerate();
    topics
        .map(|(index, text)| {
            Topic::parse(text).map_err(|rule| broken(format!("/topics/{index}"), rule.to_string()))
        })
        .collect()
}

/// The answer to a message that broke a rule.
pub(super) fn broken(pointer: impl Into<String>, detail: impl Into<String>) -> ErrorMessage {
    ErrorMessage {
        pointer: pointer.into(),
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_rule_is_named_with_its_field() {
        for (text, pointer) in [
            ("", ""),
            ("hello", ""),
            ("[]", ""),
            ("{}", ""),
            (r#"{"type":"subscribe"}"#, ""),
            (r#"{"type":"subscribe","topics":[]} x"#, ""),
            (r#"{"type":7,"topics":[]}"#, "/type"),
            (r#"{"type":"publish","topics":[]}"#, "/type"),
            (r#"{"type":"subscribe","topics":"fleet"}"#, "/topics"),
            (
                r#"{"type":"subscribe","topics":["fleet","no"]}"#,
                "/topics/1",
            ),
            (
                r#"{"type":"subscribe","topics":["device:a/b"]}"#,
                "/topics/0",
            ),
            (r#"{"type":"subscribe","topics":[],"since":1}"#, "/since"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.pointer, pointer, "{text}: {error:?}");
            assert!(!error.detail.is_empty());
        }
    }

    #[test]
    fn a_subscription_may_name_many_topics() {
        let topics = parse(r#"{"type":"subscribe","topics":["fleet","device:a"]}"#).unwrap();
        assert_eq!(topics.len(), 2);
        let many = vec!["\"fleet\""; TOPICS_MAX + 1].join(",");
        let text = format!(r#"{{"type":"subscribe","topics":[{many}]}}"#);
        assert_eq!(parse(&text).unwrap_err().pointer, "/topics");
    }
}
