//! What works and what does not, as the parts themselves report it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, Timestamp};

/// What a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serves {
    /// Messages to and from devices.
    Mqtt,
    /// Live state.
    Hot,
    /// What is kept for good.
    Database,
    /// Taking data in, durably: without it the process is not ready.
    Intake,
    /// Something else.
    Other,
}

/// Whether a part works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartState {
    /// It works.
    Up,
    /// It does not.
    Down,
}

/// A part as reported last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which engine does the work, such as `embedded`, `memory`, `sqlite`.
    pub engine: &'static str,
    /// What it is for.
    pub serves: Serves,
    /// Whether the platform does its main job without it.
    pub needed: bool,
    /// Whether it works.
    pub state: PartState,
    /// Since when.
    pub since: Timestamp,
    /// What there is to say, for a person; names no host, path or secret.
    pub detail: Option<String>,
    /// Its rounds, if it works now and then.
    pub rounds: Rounds,
}

/// When work that is done now and then was done, and will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rounds {
    /// When it succeeded last, as far as is known.
    pub last_success: Option<Timestamp>,
    /// When it will be done next.
    pub next: Option<Timestamp>,
}

/// Every part's health.
pub struct HealthRegistry {
    parts: Mutex<BTreeMap<&'static str, Part>>,
    running: AtomicBool,
    clock: Arc<dyn Clock>,
}

impl HealthRegistry {
    /// A registry without parts, of a process that is starting.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            parts: Mutex::default(),
            running: AtomicBool::new(false),
            clock,
        }
    }

    /// Adds the part `name`, which is down until it reports otherwise.
    pub fn add(
        self: &Arc<Self>,
        name: &'static str,
        engine: &'static str,
        serves: Serves,
        needed: bool,
    ) -> PartHandle {
        let part = Part {
            engine,
            serves,
            needed,
            state: PartState::Down,
            since: self.clock.now(),
            detail: Some("starting".to_owned()),
            rounds: Rounds::default(),
        };
        self.parts().insert(name, part);
        PartHandle {
            name,
            registry: Arc::clone(self),
        }
    }

    /// The parts by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, Part> {
        self.parts().clone()
    }

    /// Notes that the process takes requests, or no longer does.
    pub fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Release);
    }

    /// Whether every part that is needed works.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.parts()
            .values()
            .all(|part| !part.needed || part.state == PartState::Up)
    }

    /// Whether the process runs and takes data.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.running.load(Ordering::Acquire) && self.works(Serves::Intake)
    }

    /// Whether all parts that serve this purpose work.
    #[must_use]
    pub fn works(&self, purpose: Serves) -> bool {
        self.parts()
            .values()
            .all(|part| part.serves != purpose || part.state == PartState::Up)
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, name: &'static str, rounds: Rounds) {
        if let Some(part) = self.parts().get_mut(name) {
            part.rounds = rounds;
        }
    }

    fn report(&self, name: &'static str, state: PartState, detail: Option<String>) -> bool {
        let now = self.clock.now();
        let mut parts = self.parts();
        let Some(part) = parts.get_mut(name) else {
            return false;
        };
        let changed = part.state != state;
        if changed {
            part.state = state;
            part.since = now;
        }
        part.detail = detail;
        changed
    }
}

impl std::fmt::Debug for HealthRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.parts().iter()).finish()
    }
}

/// By which a part reports.
#[derive(Debug, Clone)]
pub struct PartHandle {
    name: &'static str,
    registry: Arc<HealthRegistry>,
}

impl PartHandle {
    /// The part works. Returns whether that is news.
    pub fn up(&self) -> bool {
        self.registry.report(self.name, PartState::Up, None)
    }

    /// The part works, and there is something to say. Returns whether its
    /// working is news.
    pub fn up_with(&self, detail: impl Into<String>) -> bool {
        self.registry
            .report(self.name, PartState::Up, Some(detail.into()))
    }

    /// The part does not work, for the reason in `detail`, which names no
    /// host, path or secret. Returns whether that is news.
    pub fn down(&self, detail: impl Into<String>) -> bool {
        self.registry
            .report(self.name, PartState::Down, Some(detail.into()))
    }

    /// The part worked, or will work, at these times.
    pub fn plan(&self, rounds: Rounds) {
        self.registry.plan(self.name, rounds);
    }

    /// The part's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_part_is_down_until_it_reports_and_keeps_the_time_of_its_last_change() {
        let clock = Arc::new(ManualClock::default());
        let health = Arc::new(HealthRegistry::new(clock.clone()));
        let journal = health.add("journal", "file", Serves::Intake, true);
        let page = health.add("page", "embedded", Serves::Other, false);
        health.set_running(true);
        assert!(!health.is_ready());
        clock.advance(Duration::from_secs(1));
        assert!(journal.up());
        clock.advance(Duration::from_secs(1));
        assert!(!journal.up_with("12 % full"));
        let part = health.all()["journal"].clone();
        assert_eq!(part.since, Timestamp::from_millis(1_000));
        assert_eq!(part.detail.as_deref(), Some("12 % full"));
        assert!(health.is_ready());
        assert!(health.is_healthy(), "the page is not needed");
        assert!(page.up());
        assert!(journal.down("full"));
        assert!(!health.is_ready());
        assert!(!health.is_healthy());
    }

    #[test]
    fn a_database_that_is_down_makes_it_unhealthy_but_not_unready() {
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        health.add("journal", "file", Serves::Intake, true).up();
        health.add("db", "sqlite", Serves::Database, true);
        health.set_running(true);
        assert!(health.is_ready());
        assert!(!health.is_healthy());
        assert!(!health.works(Serves::Database));
        assert!(health.works(Serves::Mqtt));
        health.set_running(false);
        assert!(!health.is_ready());
    }
}
