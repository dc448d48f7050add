//! The last message of each topic that was published to be kept.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;

use crate::limits::Limits;
use crate::message::Stored;
use crate::topic;

/// Retained messages by topic, bounded in number and in bytes.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    kept: RwLock<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Sorted, so that the literal start of a filter selects a range.
    by_topic: BTreeMap<Arc<str>, Arc<Stored>>,
    bytes: usize,
}

impl Retained {
    /// Keeps a message, or clears its topic if the payload is empty; false if
    /// there is no room.
    pub(crate) fn set(&self, message: &Arc<Stored>, limits: &Limits) -> bool {
        if message.payload.is_empty() {
            self.clear(&message.topic);
            return true;
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let before = kept
            .by_topic
            .get(&message.topic)
            .map(|old| old.size_bytes());
        let bytes = kept.bytes - before.unwrap_or(0) + message.size_bytes();
        let full = before.is_none() && kept.by_topic.len() >= limits.retained_messages;
        if full || bytes > limits.retained_bytes {
            return false;
        }
        kept.bytes = bytes;
        kept.by_topic.insert(message.topic.clone(), message.clone());
        true
    }

    /// Forgets a topic's message; true if there was one.
    pub(crate) fn clear(&self, topic: &str) -> bool {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        match kept.by_topic.remove(topic) {
            Some(old) => {
                kept.bytes -= old.size_bytes();
                true
            }
            None => false,
        }
    }

    /// The messages on topics that match a filter's pattern.
    pub(crate) fn matching(&self, pattern: &str, now: Instant) -> Vec<Arc<Stored>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = |message: &&Arc<Stored>| !message.is_stale(now);
        let Some(wildcard) = pattern.find(['+', '#']) else {
            let found = kept.by_topic.get(pattern);
            return found.into_iter().filter(fresh).cloned().collect();
        };
        // `a/#` matches `a` too, which sorts before `a/`.
        let literal = pattern.get(..wildcard).unwrap_or_default();
        let literal = literal.strip_suffix('/').unwrap_or(literal);
        kept.by_topic
            .range::<str, _>((Bound::Included(literal), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(literal))
            .filter(|(name, _)| topic::matches(pattern, name))
            .map(|(_, message)| message)
            .filter(fresh)
            .cloned()
            .collect()
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let Kept { by_topic, bytes } = &mut *kept;
        by_topic.retain(|_, message| {
            let stale = message.is_stale(now);
            if stale {
                *bytes -= message.size_bytes();
            }
            !stale
        });
    }

    pub(crate) fn len(&self) -> usize {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.by_topic.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use proptest::prelude::*;
    use std::time::Duration;

    fn stored(topic: &str, payload: &str) -> Arc<Stored> {
        let message = Message::new(topic, payload.to_owned()).retained();
        Arc::new(Stored::of_message(message, Instant::now()))
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_payload_clears_and_bounds_hold() {
        let retained = Retained::default();
        let limits = Limits {
            retained_messages: 2,
            retained_bytes: 20,
            ..Limits::default()
        };
        assert!(retained.set(&stored("a", "1"), &limits));
        assert!(retained.set(&stored("b", "1"), &limits));
        assert!(!retained.set(&stored("c", "1"), &limits), "too many");
        assert!(retained.set(&stored("a", "2"), &limits), "replaces");
        assert!(
            !retained.set(&stored("a", &"x".repeat(30)), &limits),
            "too large"
        );
        assert!(retained.set(&stored("a", ""), &limits));
        assert_eq!(retained.len(), 1);
        retained.clear("b");
        assert!(
            retained.set(&stored("c", &"x".repeat(19)), &limits),
            "bytes came back"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn expired_messages_are_not_handed_out() {
        let retained = Retained::default();
        let now = Instant::now();
        let message = Message::new("a", "x").expiry(Duration::from_secs(5));
        retained.set(
            &Arc::new(Stored::of_message(message, now)),
            &Limits::default(),
        );
        assert_eq!(retained.matching("a", now).len(), 1);
        let later = now + Duration::from_secs(5);
        assert!(retained.matching("#", later).is_empty());
        retained.sweep(later);
        assert_eq!(retained.len(), 0);
    }

    proptest! {
        #[test]
        fn finds_every_matching_topic(
            names in prop::collection::hash_set("[ab$/]{1,6}", 1..30),
            pattern in "([ab$+]/){0,3}([ab+#]|)",
        ) {
            prop_assume!(topic::Filter::parse(&pattern).is_ok());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _guard = runtime.enter();
            let retained = Retained::default();
            for name in &names {
                retained.set(&stored(name, "x"), &Limits::default());
            }
            let mut found: Vec<String> = retained
                .matching(&pattern, Instant::now())
                .iter()
                .map(|message| message.topic.to_string())
                .collect();
            let mut expected: Vec<String> = names
                .into_iter()
                .filter(|name| topic::matches(&pattern, name))
                .collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }
    }
}
