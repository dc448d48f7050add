//! The engines that the configuration names, opened and closed together.

use std::sync::Arc;

use anyhow::Context;
use dormouse_core::clock::Clock;
use dormouse_core::ports::journal::Progress;
use dormouse_core::site::SiteZone;

use crate::config::Config;
use crate::datadir::{DataDir, DataLock};
use crate::journal::FileJournal;

use super::node::Node;
use super::stores::Stores;

const MIB: u64 = 1 << 20;

/// Everything that is kept on disk or hot.
pub(super) struct Engines {
    pub(super) stores: Stores,
    pub(super) journal: Arc<FileJournal>,
    /// Where the site's days begin.
    pub(super) zone: SiteZone,
    /// What the drain must remember of an earlier process.
    pub(super) progress: Option<Progress>,
    _lock: DataLock,
}

impl Engines {
    pub(super) async fn open(
        config: &Config,
        data: DataDir,
        node: &Node,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let lock = data.lock()?;
        let zone = SiteZone::named(&config.site.time_zone)
            .with_context(|| format!("site.time_zone: {:?}", config.site.time_zone))?;
        let stores = Stores::open(config, &data, &node.name, &zone, Arc::clone(clock)).await?;
        // The way in that other nodes share asks for the journal's place itself.
        let progress = if stores.shared.is_some() && !config.broker.is_embedded() {
            None
        } else {
            stores.history.progress().await?
        };
        let position = progress.as_ref().map(|it| it.position);
        let path = data.journal();
        let size = u64::from(config.journal.size_mib) * MIB;
        let journal = FileJournal::open(&path, size, position)
            .with_context(|| format!("cannot open the journal {}", path.display()))?;
        let lost_bytes = journal.stats().lost;
        if lost_bytes > 0 {
            tracing::error!(
                lost_bytes,
                "the journal was damaged; what stood there is lost"
            );
        }
        Ok(Self {
            stores,
            journal: Arc::new(journal),
            zone,
            progress,
            _lock: lock,
        })
    }

    /// Writes what is left and closes the files; the lock goes with `self`.
    pub(super) async fn close(&self) {
        self.journal.close();
        self.journal.ended().await;
        for part in &self.stores.parts {
            part.close().await;
        }
    }
}
