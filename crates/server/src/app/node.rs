//! Which process this is, among several on the same engines.

use std::sync::Arc;

use dormouse_core::ports::nodes::NodeId;
use rand::Rng as _;
use rand::distr::Alphanumeric;

use crate::config::Config;

/// Characters that tell a process from its predecessor of the same name.
const SUFFIX: usize = 6;

/// A process among several.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// What people call it.
    pub(super) name: String,
    /// What nobody else is called, not even the same node after a restart.
    pub(super) id: NodeId,
}

impl Node {
    /// As configured, else by the name of the host.
    pub(super) fn of(config: &Config) -> Self {
        let configured = config.node.name.trim();
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let name = if configured.is_empty() {
            host
        } else {
            configured.to_owned()
        };
        let suffix: String = rand::rng()
            .sample_iter(Alphanumeric)
            .take(SUFFIX)
            .map(char::from)
            .collect();
        Self {
            id: NodeId(Arc::from(format!("{name}-{suffix}"))),
            name,
        }
    }
}
