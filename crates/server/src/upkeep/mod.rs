//! The loops that drive the services for as long as the server runs: each
//! waits for what is due and calls one method.

mod commands;
mod history;
mod intake;
mod nodes;
mod said;
mod services;

pub use commands::{keep as commands, refill_index};
pub use history::{periods, retention};
pub use intake::{describe as describe_intake, keep as intake, tell as tell_intake};
pub use nodes::{Duty, NodeLoops};
pub use services::{audit, events, every, incidents, presence};
