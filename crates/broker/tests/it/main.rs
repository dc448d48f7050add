//! The broker as its clients see it. One binary, so that it is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets something else than it expects fails"
)]

mod acks;
mod application;
mod chaos;
mod client;
mod clients;
mod conformance;
mod features5;
mod harness;
mod hooks;
mod limits;
mod malformed;
mod permission;
mod props;
mod sessions;
mod shared;
mod wire;
