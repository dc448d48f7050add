//! Backups of a site on the embedded engines: one archive with the databases
//! as they were at one moment, and the journal, taken while the server runs.

mod archive;
mod make;
mod manifest;
mod restore;
mod space;
#[cfg(test)]
mod tests;

pub use make::make;
pub use manifest::{Manifest, Member};
pub use restore::{restore, verify};
