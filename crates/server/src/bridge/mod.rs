//! How the services hear of each other: each type here is one service's view
//! of the others. No rules and no engines.

mod fleet;
mod inflow;
mod keeper;
mod nodes;
mod outlet;
mod view;
mod watcher;

pub use fleet::CommandFleet;
pub use inflow::{Inflow, InflowParts};
pub use keeper::{JournalKeeper, KeeperParts};
pub use nodes::DeviceHints;
pub use outlet::CommandOutlet;
pub use view::LiveView;
pub use watcher::{DeviceChanges, DeviceChangesParts};
