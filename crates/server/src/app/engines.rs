//! The engines that the configuration names, opened and closed together.

use std::sync::Arc;

use anyhow::Context;
use dormouse_core::memory::MemoryHot;
use dormouse_core::ports::hot::HotState;
use dormouse_core::ports::journal::Progress;
use dormouse_core::site::SiteZone;

use crate::config::Config;
use crate::datadir::{DataDir, DataLock};
use crate::journal::FileJournal;

use super::stores::Stores;

const MIB: u64 = 1 << 20;

/// Everything that is kept on disk or hot.
pub(super) struct Engines {
    pub(super) stores: Stores,
    pub(super) journal: Arc<FileJournal>,
    pub(super) hot: Arc<dyn HotState>,
    /// Where the site's days begin.
    pub(super) zone: SiteZone,
    /// What the drain must remember of an earlier process.
    pub(super) progress: Option<Progress>,
    _lock: DataLock,
}

impl Engines {
    pub(super) async fn open(config: &Config, data: DataDir) -> anyhow::Result<Self> {
        let lock = data.lock()?;
        let zone = SiteZone::named(&config.site.time_zone)
            .with_context(|| format!("site.time_zone: {:?}", config.site.time_zone))?;
        let stores = Stores::open(config, &data, &zone).await?;
        let progress = stores.history.progress().await?;
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
        let budget = u64::from(config.hot.ring_budget_mib) * MIB;
        Ok(Self {
            stores,
            journal: Arc::new(journal),
            hot: Arc::new(MemoryHot::new(usize::try_from(budget)?)),
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
