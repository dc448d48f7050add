//! The loops that drive the services for as long as the server runs: each
//! waits for what is due and calls one method.

mod commands;
mod history;
mod services;

pub use commands::keep as commands;
pub use history::{periods, retention};
pub use services::{audit, events, every, incidents, presence};
