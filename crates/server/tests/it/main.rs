//! The real binary, driven from outside: one test binary for all of it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a surprise is a failure"
)]

mod backup;
mod check;
mod cluster;
mod commands;
mod crash;
mod deploy;
mod docs;
mod life;
mod migrate;
mod people;
mod presence;
mod rendered;
mod site;
mod strip;
mod strips;
mod support;
mod thread;
mod watcher;
