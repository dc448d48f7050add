//! Redis 7 or later, alone or as a Cluster: hot state, last signs of life, the
//! index of commands, and how nodes hear of each other. Losing it loses
//! nothing that cannot be told again.

mod address;
mod buffers;
mod connect;
mod events;
mod exchange;
mod hot;
mod index;
mod keys;
mod link;
mod marks;
mod probe;
mod refusals;
mod ring;
mod scripts;
mod seen;
mod server;
mod settings;
mod show;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::sync::Arc;

use dormouse_core::directory::Directory;
use dormouse_core::event::Event;
use dormouse_core::ports::nodes::NodeId;
use tokio::sync::watch;

pub use exchange::RedisExchange;
pub use hot::RedisHot;
pub use index::RedisIndex;
pub use probe::Probe;
pub use seen::RedisLastSeen;
pub use settings::RedisSettings;

use crate::tasks::Tasks;
use keys::Keys;
use link::Link;
use scripts::Scripts;
use writer::Writer;

/// Why Redis cannot be used: which setting, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {problem}")]
pub struct OpenError {
    /// The setting, such as `hot.url`.
    pub setting: String,
    /// What was tried, what came of it and what to do.
    pub problem: String,
}

/// One open Redis. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    writer: Arc<Writer>,
    keys: Keys,
    scripts: Arc<Scripts>,
    tasks: Tasks,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, makes sure that the server can do all that is needed, and
    /// keeps the connection for as long as `tasks` run.
    ///
    /// # Errors
    /// When it cannot be used; names the setting.
    pub async fn open(
        settings: &RedisSettings,
        directory: Arc<dyn Directory>,
        tasks: &Tasks,
    ) -> Result<Self, OpenError> {
        let keys = Keys::new(&settings.prefix);
        let link = Link::open(settings.read()?, keys.clone()).await?;
        let scripts = Arc::new(Scripts::new());
        let writer = Writer::new(
            Arc::clone(&link),
            keys.clone(),
            Arc::clone(&scripts),
            directory,
        );
        let redis = Self {
            link,
            writer,
            keys,
            scripts,
            tasks: tasks.clone(),
        };
        redis.try_rights().await?;
        let supervise = Arc::clone(&redis.link).supervise(tasks.stopping());
        tasks.spawn("redis-link", supervise);
        let write = Arc::clone(&redis.writer).run(tasks.stopping());
        tasks.spawn("redis-writer", write);
        Ok(redis)
    }

    /// Live state.
    #[must_use]
    pub fn hot(&self) -> RedisHot {
        RedisHot::new(Arc::clone(&self.link), Arc::clone(&self.writer))
    }

    /// Last signs of life.
    #[must_use]
    pub fn last_seen(&self) -> RedisLastSeen {
        RedisLastSeen::new(Arc::clone(&self.link), Arc::clone(&self.writer))
    }

    /// The index of commands.
    #[must_use]
    pub fn index(&self) -> RedisIndex {
        RedisIndex::new(
            Arc::clone(&self.link),
            Arc::clone(&self.writer),
            self.keys.clone(),
            Arc::clone(&self.scripts),
        )
    }

    /// Joins the exchange as `node`.
    ///
    /// # Errors
    /// When Redis does not let it listen.
    pub async fn exchange(&self, node: &NodeId) -> Result<RedisExchange, OpenError> {
        RedisExchange::open(self, node).await
    }

    /// Shows an event among its device's recent ones. Never blocks; bounded,
    /// the oldest is dropped first.
    pub fn note_event(&self, event: &Event) {
        self.writer.note_event(event);
    }

    /// How often it was found empty, as after a restart without its data:
    /// pending commands must be armed and shown again then.
    #[must_use]
    pub fn emptied(&self) -> watch::Receiver<u64> {
        self.link.emptied()
    }
}
