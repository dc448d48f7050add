//! What fails again and again is said once, and so is its end.

use std::error::Error;

use dormouse_core::ports::PortError;

/// Says when something begins to fail, and when it works again.
#[derive(Debug)]
pub(super) struct Said {
    what: &'static str,
    failing: bool,
}

impl Said {
    pub(super) const fn new(what: &'static str) -> Self {
        Self {
            what,
            failing: false,
        }
    }

    /// Returns whether it failed.
    pub(super) fn note<T>(&mut self, outcome: &Result<T, PortError>) -> bool {
        match outcome {
            Ok(_) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(what = self.what, "works again");
                }
                false
            }
            Err(error) => {
                self.failed(error);
                true
            }
        }
    }

    pub(super) fn failed(&mut self, error: &(dyn Error + 'static)) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                what = self.what,
                error,
                "cannot be read or written; trying again"
            );
        }
    }
}
