//! What a database that answers does not let us do at the moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::PoolError;
use dormouse_core::ports::PortError;
use tokio_postgres::error::SqlState;

use super::error::{Failure, StatementError};

/// Shared by all who use the database.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// Why the last batch of samples was not taken in, where that was none of
    /// its own fault.
    refusal: Mutex<Option<String>>,
    /// Whether the server lets no more connections in.
    crowded: AtomicBool,
}

impl Trouble {
    /// Notes how a batch went.
    pub(super) fn note<T>(&self, batch: &Result<T, PortError>) {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        match batch {
            Ok(_) => *refusal = None,
            Err(PortError::Unavailable(error)) => {
                let failed = error.downcast_ref::<StatementError>();
                if let Some(failed) = failed.filter(|it| it.failure == Failure::Refusing) {
                    *refusal = Some(format!("takes no samples: {failed}"));
                }
            }
            Err(PortError::Corrupt(_) | PortError::Refused(_)) => {}
        }
    }

    /// Why batches are not taken in, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.clone()
    }

    /// Whether `error` says that the server lets no more connections in; said
    /// once.
    pub(super) fn is_crowded(&self, error: &PoolError, connections: usize) -> bool {
        let PoolError::Backend(error) = error else {
            return false;
        };
        if error.code() != Some(&SqlState::TOO_MANY_CONNECTIONS) {
            return false;
        }
        if !self.crowded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %error,
                connections,
                "PostgreSQL lets no more connections in; those there are must do"
            );
        }
        true
    }

    /// A new connection was made.
    pub(super) fn connected(&self) {
        if self.crowded.swap(false, Ordering::Relaxed) {
            tracing::info!("PostgreSQL lets more connections in again");
        }
    }
}
