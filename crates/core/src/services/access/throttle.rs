//! Limits guesses of passwords: by address and by name, in memory.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::clock::Instant;

/// Guesses in a row from one address.
const ADDRESS_BURST: u32 = 10;
/// Guesses in a row for one name, from wherever: many more, so that a stranger
/// does not easily keep the person out.
const NAME_BURST: u32 = 100;
/// After which it gets another one.
const REFILL: Duration = Duration::from_secs(6);
/// Keys remembered at most; beyond it the ones with all guesses left are
/// forgotten, then all.
const KEYS_MAX: usize = 16_384;

/// What guesses are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GuessKey {
    /// The address they come from, where it is known.
    Address(Option<IpAddr>),
    /// The name they are for, in lower case.
    Name(String),
}

impl GuessKey {
    /// The key of an address. A household has 2⁶⁴ IPv6 addresses: they count
    /// as one.
    #[must_use]
    pub fn address(address: Option<IpAddr>) -> Self {
        Self::Address(address.map(|address| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }))
    }

    /// The key of a name.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self::Name(name.to_lowercase())
    }

    const fn burst(&self) -> u32 {
        match self {
            Self::Address(_) => ADDRESS_BURST,
            Self::Name(_) => NAME_BURST,
        }
    }
}

/// The guesses left, as the moment at which all would be back.
#[derive(Debug, Default)]
pub struct Throttle {
    full_at: HashMap<GuessKey, Instant>,
}

impl Throttle {
    /// Takes a guess from each of `keys`, or says how long until there is one.
    ///
    /// # Errors
    /// The time until the next guess; none was taken.
    pub fn take(&mut self, keys: &[GuessKey], now: Instant) -> Result<(), Duration> {
        let wait = keys
            .iter()
            .filter_map(|key| Some((key.burst(), *self.full_at.get(key)?)))
            .map(|(burst, full_at)| (full_at + REFILL).since(now + REFILL * burst))
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
    pub fn refund(&mut self, keys: &[GuessKey]) {
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

    fn from(address: &str) -> GuessKey {
        GuessKey::address(address.parse().ok())
    }

    #[test]
    fn ten_guesses_then_one_every_six_seconds() {
        let mut throttle = Throttle::default();
        let one = [from("192.0.2.1")];
        for _ in 0..ADDRESS_BURST {
            assert_eq!(throttle.take(&one, at(0)), Ok(()));
        }
        assert_eq!(throttle.take(&one, at(0)), Err(REFILL));
        assert_eq!(throttle.take(&one, at(5)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.take(&one, at(6)), Ok(()));
        assert!(throttle.take(&one, at(6)).is_err());
        assert_eq!(throttle.take(&[from("192.0.2.2")], at(6)), Ok(()));
    }

    #[test]
    fn a_stranger_s_guesses_do_not_keep_the_person_out() {
        let mut throttle = Throttle::default();
        for _ in 0..1_000 {
            let guess = [from("192.0.2.66"), GuessKey::name("Ann")];
            throttle.take(&guess, at(0)).ok();
        }
        let ann = [from("192.0.2.1"), GuessKey::name("ann")];
        assert_eq!(throttle.take(&ann, at(0)), Ok(()));
    }

    #[test]
    fn many_addresses_for_one_name_have_an_end() {
        let mut throttle = Throttle::default();
        let heard = (0..200_u8).filter(|n| {
            let guess = [from(&format!("192.0.2.{n}")), GuessKey::name("ann")];
            throttle.take(&guess, at(0)).is_ok()
        });
        assert_eq!(heard.count(), 100);
    }

    #[test]
    fn a_household_s_addresses_count_as_one() {
        assert_eq!(from("2001:db8:1:2::1"), from("2001:db8:1:2:ffff::9"));
        assert_ne!(from("2001:db8:1:2::1"), from("2001:db8:1:3::1"));
        assert_eq!(from("::ffff:192.0.2.1"), from("192.0.2.1"));
    }

    #[test]
    fn a_right_guess_costs_nothing() {
        let mut throttle = Throttle::default();
        let both = [GuessKey::name("ann"), from("192.0.2.7")];
        for _ in 0..500 {
            assert_eq!(throttle.take(&both, at(0)), Ok(()));
            throttle.refund(&both);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..3 * KEYS_MAX {
            let key = [GuessKey::name(&n.to_string())];
            throttle.take(&key, at(0)).unwrap();
        }
        assert!(throttle.full_at.len() <= KEYS_MAX);
    }
}
