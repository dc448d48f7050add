//! Which command is due next: an index, never a scan.

use std::collections::BTreeSet;

use crate::clock::Instant;
use crate::ids::CommandId;

/// Deadlines on the monotonic clock, earliest first.
#[derive(Debug, Default)]
pub struct Deadlines(BTreeSet<(Instant, CommandId)>);

impl Deadlines {
    /// Arms `id` to be due at `at`.
    pub fn arm(&mut self, id: CommandId, at: Instant) {
        self.0.insert((at, id));
    }

    /// Disarms what was armed at `at`.
    pub fn disarm(&mut self, id: CommandId, at: Instant) {
        self.0.remove(&(at, id));
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Those due at `now`, earliest first, at most `limit`; they stay armed.
    pub fn due(&self, now: Instant, limit: usize) -> impl Iterator<Item = CommandId> {
        self.0
            .iter()
            .take_while(move |(at, _)| *at <= now)
            .take(limit)
            .map(|(_, id)| *id)
    }

    /// How many are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_due_ones_come_earliest_first_and_no_other() {
        let at = |ms| Instant::from_origin(Duration::from_millis(ms));
        let id = |n: u128| CommandId(uuid::Uuid::from_u128(n));
        let mut deadlines = Deadlines::default();
        deadlines.arm(id(1), at(30));
        deadlines.arm(id(2), at(10));
        deadlines.arm(id(3), at(20));
        assert_eq!(deadlines.next(), Some(at(10)));
        let due: Vec<_> = deadlines.due(at(20), 10).collect();
        assert_eq!(due, [id(2), id(3)]);
        deadlines.disarm(id(2), at(10));
        assert_eq!(deadlines.due(at(30), 1).collect::<Vec<_>>(), [id(3)]);
        assert_eq!(deadlines.len(), 2);
    }
}
