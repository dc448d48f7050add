//! MQTT as the services see it: devices' sessions and messages come in through
//! the broker's hooks, commands and credentials go out through its handle.

pub mod external;
mod hooks;
mod link;

pub use hooks::{DeviceHooks, EnrolRequests, HooksParts, enrol_requests, hand_over_credentials};
pub use link::BrokerLink;
