//! What a Redis that answers does not do: single commands, or all writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{RedisError, RedisResult};

/// What was refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// How many commands; others went on.
    commands: AtomicU64,
    /// What was said of the last one.
    last: Mutex<Option<String>>,
    /// Why no writes are taken at all, if so.
    writes: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Refusals {
    /// Notes a command that was refused.
    pub(super) fn note(&self, error: &RedisError) {
        let before = self.commands.fetch_add(1, Ordering::Relaxed);
        let text = error.to_string();
        if before == 0 {
            tracing::warn!(
                error = text,
                "Redis refuses a command; further ones are counted"
            );
        }
        *lock(&self.last) = Some(text);
    }

    /// How many commands were refused.
    pub(super) fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// What was said of the last one, once.
    pub(super) fn take_last(&self) -> Option<String> {
        lock(&self.last).take()
    }

    /// Notes whether the marks could be written; says whether others are there.
    pub(super) fn judge(&self, marks: RedisResult<bool>) -> bool {
        let now = marks.as_ref().err().map(ToString::to_string);
        let before = std::mem::replace(&mut *lock(&self.writes), now.clone());
        match (&before, now) {
            (None, Some(error)) => tracing::error!(error, "Redis takes no writes"),
            (Some(_), None) => tracing::info!("Redis takes writes again"),
            _ => {}
        }
        marks.unwrap_or(false)
    }

    /// Why no writes are taken at the moment, if so.
    pub(super) fn writes(&self) -> Option<String> {
        lock(&self.writes).clone()
    }
}
