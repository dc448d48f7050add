//! The way in for messages of an external broker.

use std::fmt::Debug;

use crate::ports::journal::Receipt;
use crate::services::ingest::{Inbound, Ingest};

/// Takes what devices say, whichever way it is kept.
pub trait WayIn: Debug + Send + Sync + 'static {
    /// Takes one message. Called in order for each connection; neither waits
    /// nor fails: `receipt`, which is there where the sender waits for an
    /// acknowledgement, is resolved once the message is kept.
    fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>);
}

impl WayIn for Ingest {
    fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        self.receive(message, receipt);
    }
}
