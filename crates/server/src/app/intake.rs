//! The way in that fits the engines.

use std::sync::Arc;

use dormouse_core::directory::Directory;
use dormouse_core::ports::PortError;
use dormouse_core::ports::hot::HotState;
use dormouse_core::services::drain::Drain;
use dormouse_core::services::ingest::{Downstream, Ingest};
use dormouse_core::services::intake::{Committer, CommitterParts, Gate, WayIn};
use dormouse_core::services::registry::Registry;

use super::engines::Engines;
use crate::api::health::{IntakeReport, Way};
use crate::bridge::{Inflow, JournalKeeper, KeeperParts};
use crate::journal::JournalStats;
use crate::upkeep;

/// A way in, as those before it and those beside it see it, and what works
/// behind it.
pub(super) struct Intake {
    pub(super) way_in: Arc<dyn WayIn>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) work: IntakeWork,
}

/// What works behind a way in.
#[derive(Debug, Clone)]
pub(super) enum IntakeWork {
    /// Messages are acknowledged once they are in the journal, which is
    /// brought into the database soon after.
    Drain(Arc<Drain>),
    /// Messages are acknowledged once they are in the database, which other
    /// nodes write to as well.
    Commit(Arc<Committer>),
}

impl IntakeWork {
    /// Whether messages are kept, one way or the other, and what there is to
    /// say of it.
    pub(super) fn check(&self) -> Result<Option<String>, String> {
        match self {
            Self::Commit(committer) => upkeep::describe_intake(&committer.figures()),
            Self::Drain(_) => Ok(None),
        }
    }

    /// The way that messages take, for people.
    pub(super) fn report(&self, journal: &JournalStats) -> IntakeReport {
        let (way, waiting, aside) = match self {
            Self::Drain(_) => (Way::Journal, None, 0),
            Self::Commit(committer) => {
                let figures = committer.figures();
                let in_memory = u64::try_from(figures.waiting).unwrap_or(u64::MAX);
                let behind = figures.journalled.saturating_sub(figures.replayed);
                let way = if figures.direct {
                    Way::Direct
                } else {
                    Way::Detour
                };
                (way, Some(in_memory.saturating_add(behind)), figures.aside)
            }
        };
        IntakeReport {
            way,
            waiting,
            aside,
            journal_used_bytes: journal.used,
            journal_capacity_bytes: journal.capacity,
            journal_full: journal.full,
        }
    }
}

impl Intake {
    pub(super) async fn build(
        engines: &Engines,
        external: bool,
        hot: &Arc<dyn HotState>,
        registry: &Arc<Registry>,
        inflow: &Arc<Inflow>,
    ) -> Result<Self, PortError> {
        let downstream: Arc<dyn Downstream> = Arc::clone(inflow) as _;
        match &engines.stores.shared {
            Some(shared) if external => {
                inflow.leave_reports_to_the_way_in();
                let committer = Arc::new(Committer::new(CommitterParts {
                    store: Arc::clone(&shared.intake),
                    journal: Arc::clone(&engines.journal) as _,
                    reader: Arc::clone(&engines.journal) as _,
                    directory: Arc::clone(registry) as Arc<dyn Directory>,
                    hot: Arc::clone(hot),
                    downstream,
                }));
                Ok(Self {
                    way_in: Arc::clone(&committer) as _,
                    gate: Arc::clone(&committer) as _,
                    work: IntakeWork::Commit(committer),
                })
            }
            Some(_) | None => {
                let journal = Arc::clone(&engines.journal) as _;
                let ingest = Arc::new(Ingest::new(journal, Arc::clone(hot), downstream));
                let keeper = JournalKeeper::new(KeeperParts {
                    history: Arc::clone(&engines.stores.history),
                    events: Arc::clone(&engines.stores.events),
                    registry: Arc::clone(registry),
                    inflow: Arc::clone(inflow),
                });
                let saved = engines.progress.clone().map(|it| it.inboxes);
                let drain = Drain::resume(
                    Arc::clone(&engines.journal) as _,
                    Arc::new(keeper),
                    saved.unwrap_or_default(),
                    &ingest,
                )
                .await?;
                Ok(Self {
                    way_in: Arc::clone(&ingest) as _,
                    gate: ingest,
                    work: IntakeWork::Drain(Arc::new(drain)),
                })
            }
        }
    }
}
