//! What every implementation of a port must do. Each adapter runs these, on
//! an empty store, and panics where the contract is broken.

mod audit;
pub mod commands;
mod devices;
mod event;
mod history;
mod hot;
mod intake;
mod journal;
mod leases;
mod nodes;
mod people;
mod site;

pub use audit::audit_store;
pub use commands::command_store;
pub use devices::device_store;
pub use event::{event_store, incident_store};
pub use history::{History, history_store};
pub use hot::{hot_state, shared_hot_state};
pub use intake::{IntakeStores, intake_store, intake_store_of_nodes};
pub use journal::journal;
pub use leases::lease_store;
pub use nodes::{command_index, exchange, last_seen};
pub use people::{session_store, token_store, user_store};
pub use site::setting_store;
