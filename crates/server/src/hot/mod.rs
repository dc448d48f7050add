//! Hot state outside the process: adapters of the hot-state ports.

pub mod redis;
