//! Counters of what went through the broker and what did not.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! stats {
    ($( $(#[doc = $doc:literal])+ $name:ident ),+ $(,)?) => {
        /// What the broker has counted since it started.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Connections open now, those still authenticating included.
            pub connections: u64,
            /// Sessions kept now, connected or not.
            pub sessions: u64,
            /// Retained messages now.
            pub retained: u64,
            /// Bytes waiting in all sessions' queues now.
            pub queued_bytes: u64,
            $( $(#[doc = $doc])+ pub $name: u64, )+
        }

        /// The counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $( pub(crate) $name: AtomicU64, )+
        }

        impl Counters {
            /// The counters' values; what is open or kept now is for the caller.
            pub(crate) fn snapshot(&self) -> Stats {
                Stats {
                    $( $name: self.$name.load(Relaxed), )+
                    ..Stats::default()
                }
            }
        }
    };
}

stats! {
    /// Connections accepted.
    connects,
    /// Connections refused, for whatever reason.
    refused,
    /// Connections ended because of malformed or forbidden packets.
    protocol_errors,
    /// Publications received from clients.
    messages_in,
    /// Bytes received from clients.
    bytes_in,
    /// Publications sent to clients.
    messages_out,
    /// Bytes sent to clients.
    bytes_out,
    /// Publications that the application has not allowed.
    denied_publish,
    /// Subscriptions that the application has not allowed.
    denied_subscribe,
    /// Publications acknowledged with a refusal.
    refused_publish,
    /// Connections ended because a commit failed.
    commit_failed,
    /// Connections ended because a message was not acknowledged by its deadline.
    ack_overdue,
    /// Connections ended because the client took nothing for too long.
    slow_consumers,
    /// Deliveries dropped because a session's queue, or all together, were full.
    dropped_full,
    /// Deliveries dropped because the message expired first.
    dropped_expired,
    /// Deliveries dropped because the packet was over the client's maximum.
    dropped_too_large,
    /// QoS 0 deliveries dropped because the client was away.
    dropped_offline,
    /// Messages passed on but not retained, for lack of room.
    retain_refused,
    /// Wills published.
    wills,
    /// Times that one session or identity was taken over by a newer connection.
    takeovers,
    /// Hooks or connections that panicked; always a defect.
    panics,
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Relaxed);
    }
}
