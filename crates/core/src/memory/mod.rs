//! In-memory ports: lost when the process ends, and every test's backend.

mod audit;
mod commands;
mod devices;
mod directory;
mod event;
mod exchange;
mod history;
mod hot;
mod index;
mod intake;
mod journal;
mod last_seen;
mod leases;
mod people;
mod site;

pub use audit::MemoryAudit;
pub use commands::{MemoryCommands, Outbox};
pub use devices::MemoryDevices;
pub use directory::MemoryDirectory;
pub use event::{MemoryEvents, MemoryIncidents};
pub use exchange::{MemoryExchange, MemoryHub};
pub use history::MemoryHistory;
pub use hot::{MemoryHot, RING_BUDGET};
pub use index::MemoryIndex;
pub use intake::{MemoryIntake, Trouble};
pub use journal::MemoryJournal;
pub use last_seen::MemoryLastSeen;
pub use leases::MemoryLeases;
pub use people::{MemorySessions, MemoryTokens, MemoryUsers};
pub use site::MemorySettings;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// No code here can panic between two writes, so a poisoned lock holds good data.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
