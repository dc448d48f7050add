//! Limits guesses of passwords: by address and by name, in memory.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Instant;

/// Guesses in a row that a key has.
const BURST: u32 = 10;
/// After which it gets another one.
const REFILL: Duration = Duration::from_secs(6);
/// Keys remembered at most; beyond it the ones with all guesses left are
/// forgotten, then all.
const KEYS_MAX: usize = 16_384;

/// The guesses left, as the moment at which all would be back.
#[derive(Debug, Default)]
pub struct Throttle {
    full_at: HashMap<String, Instant>,
}

impl Throttle {
    /// Takes a guess from each of `keys`, or says how long until there is one.
    ///
    /// # Errors
    /// The time until the next guess; none was taken.
    pub fn take(&mut self, keys: &[String], now: Instant) -> Result<(), Duration> {
        let span = REFILL * BURST;
        let wait = keys
            .iter()
            .filter_map(|key| self.full_at.get(key))
            .map(|full_at| (*full_at + REFILL).since(now + span))
            .max()
            .unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        self.make_room(keys.len(), now);
        for key in keys {
            let full_at = self.full_at.entry(key.clone()).or_insert(now);
            *full_at = (*full_at).max(now) + REFILL;
        }
        Ok(())
    }

    /// Gives the guess back: it was right.
    pub fn refund(&mut self, keys: &[String]) {
        for key in keys {
            if let Some(full_at) = self.full_at.get_mut(key) {
                *full_at = *full_at - REFILL;
            }
        }
    }

    fn make_room(&mut self, count: usize, now: Instant) {
        if self.full_at.len() + count > KEYS_MAX {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() + count > KEYS_MAX {
            self.full_at.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_origin(Duration::from_secs(1_000 + seconds))
    }

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn ten_guesses_then_one_every_six_seconds() {
        let mut throttle = Throttle::default();
        let ann = keys(&["ann"]);
        for _ in 0..BURST {
            assert_eq!(throttle.take(&ann, at(0)), Ok(()));
        }
        assert_eq!(throttle.take(&ann, at(0)), Err(REFILL));
        assert_eq!(throttle.take(&ann, at(5)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.take(&ann, at(6)), Ok(()));
        assert!(throttle.take(&ann, at(6)).is_err());
        assert_eq!(throttle.take(&keys(&["bob"]), at(6)), Ok(()));
    }

    #[test]
    fn a_right_guess_costs_nothing() {
        let mut throttle = Throttle::default();
        let both = keys(&["ann", "192.0.2.7"]);
        for _ in 0..100 {
            assert_eq!(throttle.take(&both, at(0)), Ok(()));
            throttle.refund(&both);
        }
    }

    #[test]
    fn one_full_key_is_enough_and_costs_the_other_nothing() {
        let mut throttle = Throttle::default();
        for _ in 0..BURST {
            throttle.take(&keys(&["10.0.0.1"]), at(0)).unwrap();
        }
        for _ in 0..50 {
            assert!(throttle.take(&keys(&["ann", "10.0.0.1"]), at(0)).is_err());
        }
        assert_eq!(throttle.take(&keys(&["ann", "10.0.0.2"]), at(0)), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..3 * KEYS_MAX {
            throttle.take(&[n.to_string()], at(0)).unwrap();
        }
        assert!(throttle.full_at.len() <= KEYS_MAX);
    }
}
