//! Hot state, and what nodes share through it.

use std::path::PathBuf;
use std::sync::Arc;

use dormouse_core::directory::Directory;
use dormouse_core::memory::MemoryHot;
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::nodes::NodeId;

use super::probes::root_cause;
use crate::config::Config;
use crate::hot::redis::{Redis, RedisExchange, RedisSettings};
use crate::tasks::Tasks;

const MIB: u64 = 1 << 20;

/// Hot state as the services see it.
#[derive(Debug, Clone)]
pub(super) struct Hot {
    pub(super) state: Arc<dyn HotState>,
    /// What only a hot state of several nodes has.
    pub(super) shared: Option<SharedHot>,
}

/// What only a hot state of several nodes has.
#[derive(Debug, Clone)]
pub(super) struct SharedHot {
    pub(super) redis: Redis,
    pub(super) exchange: Arc<RedisExchange>,
}

impl Hot {
    /// Opens the hot state that `config` names; `tasks` keep it connected.
    pub(super) async fn open(
        config: &Config,
        directory: Arc<dyn Directory>,
        node: &NodeId,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        if config.hot.is_memory() {
            let budget = u64::from(config.hot.ring_budget_mib) * MIB;
            return Ok(Self {
                state: Arc::new(MemoryHot::new(usize::try_from(budget)?)),
                shared: None,
            });
        }
        let redis = Redis::open(&settings(config), directory, tasks).await?;
        let exchange = redis.exchange(node).await?;
        Ok(Self {
            state: Arc::new(redis.hot()),
            shared: Some(SharedHot {
                redis,
                exchange: Arc::new(exchange),
            }),
        })
    }
}

impl Hot {
    /// Its engine in `/health`.
    pub(super) const fn engine(&self) -> &'static str {
        match self.shared {
            Some(_) => "redis",
            None => "memory",
        }
    }

    /// Whether it works; else why not.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.shared {
            Some(shared) => shared.redis.probe().map(drop).map_err(|it| root_cause(&it)),
            None => Ok(()),
        }
    }
}

fn settings(config: &Config) -> RedisSettings {
    let hot = &config.hot;
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    RedisSettings {
        url: hot.url.clone(),
        username: (!hot.username.is_empty()).then(|| hot.username.clone()),
        password_file: file(&hot.password_file),
        ca_file: file(&hot.ca_file),
        certificate_file: file(&hot.certificate_file),
        key_file: file(&hot.key_file),
        prefix: hot.prefix.clone(),
    }
}
