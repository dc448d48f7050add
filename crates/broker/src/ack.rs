//! Acknowledgements that the application resolves when a publication is safe.

use std::sync::Arc;

use crate::codec::ReasonCode;
use crate::link::{DONE, FAILED, Link};

/// Resolves the acknowledgement of one publication, from any thread, once.
///
/// Dropped unresolved it counts as [`Ack::failed`]: the client is never
/// acknowledged, its connection is closed, and it will send again.
#[derive(Debug)]
pub struct Ack {
    link: Option<Arc<Link>>,
    slot: u16,
}

impl Ack {
    pub(crate) fn new(link: Arc<Link>, slot: u16) -> Self {
        Self {
            link: Some(link),
            slot,
        }
    }

    /// For what is not acknowledged: QoS 0 and wills.
    pub(crate) fn none() -> Self {
        Self {
            link: None,
            slot: 0,
        }
    }

    /// Whether a client waits for this; false for QoS 0 and wills.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.link.is_some()
    }

    /// The publication is safe: acknowledge it and pass it on.
    pub fn done(self) {
        self.resolve(DONE);
    }

    /// Acknowledge with an MQTT 5 failure reason (MQTT 3.1.1: an ordinary
    /// acknowledgement) and do not pass it on. A reason that is no failure
    /// counts as [`ReasonCode::UNSPECIFIED`].
    pub fn refuse(self, reason: ReasonCode) {
        self.resolve(refusal(reason));
    }

    /// The publication could not be made safe.
    pub fn failed(self) {
        self.resolve(FAILED);
    }

    fn resolve(mut self, state: u8) {
        if let Some(link) = self.link.take() {
            link.resolve(self.slot, state);
            link.raise();
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.resolve(self.slot, FAILED);
            link.raise();
        }
    }
}

/// Resolves many acknowledgements and wakes each connection once, when the
/// batch is dropped or [flushed](AckBatch::flush). Use it for a group commit.
#[derive(Debug, Default)]
pub struct AckBatch {
    touched: Vec<Arc<Link>>,
}

impl AckBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Like [`Ack::done`].
    pub fn done(&mut self, ack: Ack) {
        self.resolve(ack, DONE);
    }

    /// Like [`Ack::refuse`].
    pub fn refuse(&mut self, ack: Ack, reason: ReasonCode) {
        self.resolve(ack, refusal(reason));
    }

    /// Like [`Ack::failed`].
    pub fn failed(&mut self, ack: Ack) {
        self.resolve(ack, FAILED);
    }

    /// Wakes the connections; the batch can be used again.
    pub fn flush(&mut self) {
        for link in self.touched.drain(..) {
            link.wake();
        }
    }

    fn resolve(&mut self, mut ack: Ack, state: u8) {
        if let Some(link) = ack.link.take() {
            link.resolve(ack.slot, state);
            if link.raise_quietly() {
                self.touched.push(link);
            }
        }
    }
}

impl Drop for AckBatch {
    fn drop(&mut self) {
        self.flush();
    }
}

fn refusal(reason: ReasonCode) -> u8 {
    if reason.is_failure() {
        reason.0
    } else {
        ReasonCode::UNSPECIFIED.0
    }
}
