//! An MQTT 3.1.1 and 5.0 broker to embed: it knows MQTT, and asks the
//! application for everything else through [`Hooks`].
//!
//! A publication of QoS 1 or 2 is acknowledged when the application says that it
//! is safe, and many may be on their way to that point at once.
//!
//! # Where to read on
//! [`Broker`] and [`BrokerHandle`] are what an application holds, [`Hooks`] what
//! it writes. Inside, a packet comes in through `connection`, is taken apart by
//! `codec`, passed on by `router`, and waits in a `session`; `registry` knows
//! who is there.

mod ack;
mod admission;
mod broker;
mod codec;
mod conflict;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod hooks;
mod limits;
mod link;
mod listener;
mod message;
mod reasons;
mod registry;
mod retained;
mod router;
mod session;
mod shared;
mod stats;
mod subscriptions;
mod timers;
mod topic;
mod topic_map;

pub use ack::{Ack, AckBatch};
pub use broker::{BindError, Broker, BrokerHandle, Config, RunError};
pub use codec::{DecodeError, MessageProperties, Protocol, QoS, ReasonCode, UserProperties};
pub use connection::Transport;
pub use hooks::{
    Attempt, ConnectRefused, ConnectRequest, Hooks, Identity, IdentityConflict, Inbound, Origin,
    PublishVerdict, Routing,
};
pub use limits::{LimitError, Limits};
pub use message::Message;
pub use reasons::{Disconnect, KickReason, Refusal};
pub use router::Delivery;
pub use session::{Session, SessionInfo};
pub use stats::Stats;
pub use topic::{TopicError, check_name as check_topic_name};
