//! Where the drain puts what the journal held.

use std::sync::Arc;

use async_trait::async_trait;
use dormouse_core::event::Event;
use dormouse_core::ports::history::HistoryStore;
use dormouse_core::ports::journal::Progress;
use dormouse_core::ports::{EventStore, PortError};
use dormouse_core::record::{Control, ControlBody};
use dormouse_core::sample::DeviceSample;
use dormouse_core::services::drain::Keeper;
use dormouse_core::services::registry::Registry;

use super::Inflow;

/// The databases behind the journal.
#[derive(Clone)]
pub struct KeeperParts {
    /// Keeps samples and the journal's progress.
    pub history: Arc<dyn HistoryStore>,
    /// Keeps events.
    pub events: Arc<dyn EventStore>,
    /// Keeps reported state.
    pub registry: Arc<Registry>,
    /// Acts upon what an earlier process took and may not have acted upon.
    pub inflow: Arc<Inflow>,
}

impl std::fmt::Debug for KeeperParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeeperParts").finish_non_exhaustive()
    }
}

/// Puts records into the databases.
#[derive(Debug)]
pub struct JournalKeeper {
    parts: KeeperParts,
}

impl JournalKeeper {
    /// A keeper over `parts`.
    #[must_use]
    pub const fn new(parts: KeeperParts) -> Self {
        Self { parts }
    }
}

#[async_trait]
impl Keeper for JournalKeeper {
    async fn keep_control(&self, controls: Vec<Control>, replayed: bool) -> Result<(), PortError> {
        let mut events = Vec::new();
        for control in controls {
            match control.body {
                ControlBody::Event(record) => {
                    if let Some(device) = self.parts.registry.by_key(control.device) {
                        events.push(Event::of_device(&device, &record, control.at));
                    }
                }
                ControlBody::Status(status) if replayed && status.online => {
                    self.parts
                        .inflow
                        .report(control.device, &status, control.at, true);
                }
                ControlBody::Ack(ack) if replayed => {
                    self.parts
                        .inflow
                        .verdict(control.device, &ack, control.at, None);
                }
                ControlBody::Status(_) | ControlBody::Ack(_) => {}
            }
        }
        if !events.is_empty() {
            self.parts.events.append(&events).await?;
        }
        self.parts.registry.flush().await
    }

    async fn keep_samples(
        &self,
        samples: Vec<DeviceSample>,
        progress: Progress,
    ) -> Result<(), PortError> {
        self.parts.history.append(samples, Some(progress)).await?;
        Ok(())
    }
}
