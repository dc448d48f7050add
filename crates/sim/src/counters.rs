//! What a fleet has done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters that all strips of a fleet add to.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// What a fleet has done since it started.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn totals(&self) -> Totals {
                Totals { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connected,
    /// Attempts to connect that failed.
    connect_failed,
    /// Connections lost or broken.
    links_lost,
    /// Subscriptions that were denied.
    subscriptions_denied,
    /// Messages published.
    published,
    /// Messages acknowledged by the broker.
    acknowledged,
    /// Messages acknowledged with a refusal (MQTT 5).
    refused,
    /// Samples published.
    samples,
    /// Messages and samples dropped because too many were waiting.
    dropped,
    /// Commands obeyed.
    executed,
    /// Commands that came again and were not obeyed again.
    repeated,
    /// Commands answered with `failed`.
    declined,
    /// Messages on `cmd` that were no command for the strip.
    commands_refused,
    /// Mishaps that a scenario brought.
    mishaps,
    /// Strips that were handed credentials.
    enrolled,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
