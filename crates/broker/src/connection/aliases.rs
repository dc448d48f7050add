//! Topic aliases of MQTT 5: numbers that stand for topics on one connection.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::DecodeError;

/// Aliases that the client has set.
#[derive(Debug)]
pub(super) struct InboundAliases {
    topics: Vec<Option<Arc<str>>>,
    maximum: u16,
}

impl InboundAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self {
            topics: Vec::new(),
            maximum,
        }
    }

    /// Sets an alias if `topic` is not empty, and returns what it stands for.
    ///
    /// # Errors
    /// [`DecodeError`] if it is above the maximum or was never set.
    pub(super) fn resolve(&mut self, alias: u16, topic: &str) -> Result<Arc<str>, DecodeError> {
        if alias == 0 || alias > self.maximum {
            return Err(DecodeError::InvalidTopicAlias);
        }
        let index = usize::from(alias) - 1;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        let Some(slot) = self.topics.get_mut(index) else {
            return Err(DecodeError::InvalidTopicAlias);
        };
        if !topic.is_empty() && slot.as_deref() != Some(topic) {
            *slot = Some(topic.into());
        }
        slot.clone()
            .ok_or(DecodeError::Protocol("a topic alias that was never set"))
    }
}

/// Aliases that we have set: the first topics sent get one, and keep it.
#[derive(Debug)]
pub(super) struct OutboundAliases {
    topics: HashMap<Arc<str>, u16>,
    maximum: u16,
}

impl OutboundAliases {
    pub(super) fn new(maximum: u16) -> Self {
        Self {
            topics: HashMap::new(),
            maximum,
        }
    }

    /// The alias of a topic, if it has one.
    pub(super) fn known(&self, topic: &str) -> Option<u16> {
        self.topics.get(topic).copied()
    }

    /// The alias that a topic without one would get, if there is one left.
    pub(super) fn free(&self) -> Option<u16> {
        let next = u16::try_from(self.topics.len()).ok()?.checked_add(1)?;
        (next <= self.maximum).then_some(next)
    }

    /// The topic was sent with the alias from [`OutboundAliases::free`].
    pub(super) fn set(&mut self, topic: &Arc<str>, alias: u16) {
        self.topics.insert(topic.clone(), alias);
    }
}
