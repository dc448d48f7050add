//! How the nodes of one site work together.

mod hint;
mod lease;

pub use hint::Hint;
pub use lease::{LEASE_EVERY, LEASE_TTL, LeaseKeeper};
