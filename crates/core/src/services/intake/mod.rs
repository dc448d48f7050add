//! The ways in for devices' messages, as those who hand messages over see
//! them, and the one that leads straight into the database.

mod committer;
mod doubt;
mod front;
mod judge;
mod keep;
mod lane;
mod memory;
mod replay;
mod sieve;
mod sift;
#[cfg(test)]
mod tests;

pub use committer::{CommitFigures, Committer, CommitterParts, Step};
pub use sift::RefusalNews;

use std::fmt::Debug;

use async_trait::async_trait;

use super::ingest::{Inbound, Ingest, Refusals, Totals};
use crate::decode::Reason;
use crate::ids::DeviceKey;
use crate::ports::journal::Receipt;

/// Takes what devices say, whichever way it is kept.
#[async_trait]
pub trait WayIn: Debug + Send + Sync + 'static {
    /// Takes one message. Called in order for each connection; neither waits
    /// nor fails: `receipt`, which is there where the sender waits for an
    /// acknowledgement, is resolved once the message is kept.
    fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>);

    /// Whether there is room for more. A reader who can leave messages where
    /// they are awaits [`WayIn::room`] before it reads on where there is none;
    /// what is handed over all the same may be turned away.
    fn has_room(&self) -> bool {
        true
    }

    /// Waits until [`WayIn::has_room`].
    async fn room(&self) {}
}

/// What the rest of the platform asks of a way in.
pub trait Gate: Debug + Send + Sync + 'static {
    /// Refuses whatever still comes from `device`, or takes it again.
    fn set_revoked(&self, device: DeviceKey, revoked: bool);

    /// What was refused of `device` since the start; `None` where nothing was.
    fn refusals(&self, device: DeviceKey) -> Option<Refusals>;

    /// What came in since the start.
    fn totals(&self) -> Totals;

    /// What was refused since the start, by reason.
    fn refused(&self) -> Vec<(Reason, u64)>;
}

/// The journal takes what fits and withholds the acknowledgement of the rest,
/// so there is always room.
impl WayIn for Ingest {
    fn receive(&self, message: &Inbound<'_>, receipt: Option<Box<dyn Receipt>>) {
        self.receive(message, receipt);
    }
}

impl Gate for Ingest {
    fn set_revoked(&self, device: DeviceKey, revoked: bool) {
        self.set_revoked(device, revoked);
    }

    fn refusals(&self, device: DeviceKey) -> Option<Refusals> {
        self.refusals(device)
    }

    fn totals(&self) -> Totals {
        self.totals()
    }

    fn refused(&self) -> Vec<(Reason, u64)> {
        self.refused().collect()
    }
}
