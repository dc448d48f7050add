//! Seeded randomness: each strip has streams of its own, so that what one strip
//! draws never depends on another or on the network.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// What a random stream is used for; streams of one strip are independent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// What is plugged in and when people use it.
    Appliances = 1,
    /// What goes wrong, and when.
    Mishaps = 2,
    /// How long to wait before connecting again.
    Backoff = 3,
}

/// The random stream of one strip for one use.
pub(crate) fn stream(seed: u64, device_id: &str, stream: Stream) -> SmallRng {
    // FNV-1a: short, and the same on every machine and in every release.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.rotate_left(17);
    for byte in device_id.bytes().chain([b'/', stream as u8]) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    SmallRng::seed_from_u64(hash)
}

/// A number drawn evenly from `range` (both ends included).
pub(crate) fn between(rng: &mut SmallRng, range: (f64, f64)) -> f64 {
    rng.random_range(range.0..=range.1)
}

/// True with probability `chance`; anything outside 0..=1 is clamped.
pub(crate) fn happens(rng: &mut SmallRng, chance: f64) -> bool {
    rng.random_bool(chance.clamp(0.0, 1.0))
}

/// Milliseconds until the next of events that come `per_hour` on average, or
/// `None` if they never come.
pub(crate) fn next_in_ms(rng: &mut SmallRng, per_hour: f64) -> Option<u64> {
    if per_hour <= 0.0 {
        return None;
    }
    let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
    Some(crate::round::to_u64(-uniform.ln() * 3_600_000.0 / per_hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_strips_and_streams_differ() {
        let draw = |seed, id, which| stream(seed, id, which).random::<u64>();
        assert_eq!(draw(1, "a", Stream::Mishaps), draw(1, "a", Stream::Mishaps));
        assert_ne!(draw(1, "a", Stream::Mishaps), draw(2, "a", Stream::Mishaps));
        assert_ne!(draw(1, "a", Stream::Mishaps), draw(1, "b", Stream::Mishaps));
        assert_ne!(draw(1, "a", Stream::Mishaps), draw(1, "a", Stream::Backoff));
    }

    #[test]
    fn events_come_as_often_as_asked() {
        let mut rng = stream(7, "a", Stream::Mishaps);
        let total: u64 = (0..2_000).filter_map(|_| next_in_ms(&mut rng, 60.0)).sum();
        let mean_ms = total / 2_000;
        assert!((55_000..65_000).contains(&mean_ms), "mean {mean_ms} ms");
        assert_eq!(next_in_ms(&mut rng, 0.0), None);
    }
}
