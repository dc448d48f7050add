//! What watchers are told, and how it reaches each of them.
//!
//! [`LiveHub`] knows who watches what. A message is written as JSON once, and
//! only if somebody watches its device; every watcher has a bounded
//! [`Outbox`](outbox::Outbox) of its own, in which a newer message about the
//! same thing takes the place of an older one, so that a slow watcher holds up
//! nobody and never falls behind by more than its bound.

mod device;
mod hub;
mod message;
mod outbox;
mod reading;
mod topic;
mod watchers;

pub use device::{DeviceMessage, RemovedMessage, SocketMessage, StatusMessage};
pub use hub::{LiveHub, Subscription, TooManyWatchers};
pub use message::{
    CommandMessage, ErrorMessage, EventMessage, EventNotice, FleetTotals, LiveMessage,
    PresenceMessage, SnapshotMessage, TelemetryMessage,
};
pub use outbox::{About, Drained};
pub use reading::{
    ReadingMessage, SampleMessage, SocketSampleMessage, latest_message, sample_messages,
};
pub use topic::{InvalidTopic, Topic};

#[cfg(test)]
mod tests;
