//! The way straight into PostgreSQL, for messages of an external broker.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::Object;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::PortError;
use dormouse_core::ports::intake::{
    InboxVersion, IntakeBatch, IntakeStore, IntakeTransaction, StoredInbox,
};
use dormouse_core::ports::journal::JournalPosition;

use super::super::devices::save_reports;
use super::super::events::append_events;
use super::super::pool::in_time;
use super::PostgresHistory;
use super::absorb::absorb;
use super::hold::Hold;
use super::port::sort;
use super::read::position;
use super::refused;
use super::write::{Beside, End};

/// Transactions over samples, events, reports and inboxes.
#[derive(Debug, Clone)]
pub struct PostgresIntake(Arc<PostgresHistory>);

impl PostgresIntake {
    /// The way into `history` and into what its database has beside it.
    #[must_use]
    pub const fn new(history: Arc<PostgresHistory>) -> Self {
        Self(history)
    }
}

#[async_trait]
impl IntakeStore for PostgresIntake {
    async fn begin(
        &self,
        devices: &[(DeviceKey, InboxVersion)],
    ) -> Result<Box<dyn IntakeTransaction>, PortError> {
        let hold = Hold::begin(&self.0.db, devices).await?;
        let history = Arc::clone(&self.0);
        Ok(Box::new(Transaction { history, hold }))
    }

    async fn position(&self, journal: u64) -> Result<Option<JournalPosition>, PortError> {
        let sql = "SELECT journal, byte FROM journals WHERE journal = $1";
        let row = self.0.db.query_opt(sql, &[&journal.cast_signed()]).await?;
        row.as_ref().map(position).transpose()
    }

    async fn refused(&self) -> Result<u64, PortError> {
        refused::count(&self.0.db).await
    }

    async fn wanted_again(&self, limit: usize) -> Result<Vec<Box<[u8]>>, PortError> {
        refused::wanted(&self.0.db, limit).await
    }
}

#[derive(Debug)]
struct Transaction {
    history: Arc<PostgresHistory>,
    hold: Hold,
}

#[async_trait]
impl IntakeTransaction for Transaction {
    fn changed(&mut self) -> Vec<StoredInbox> {
        std::mem::take(&mut self.hold.changed)
    }

    async fn commit(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError> {
        self.end(batch, End::Commit).await
    }

    async fn rehearse(self: Box<Self>, batch: IntakeBatch) -> Result<(), PortError> {
        self.end(batch, End::Undo).await
    }
}

impl Transaction {
    async fn end(self, mut batch: IntakeBatch, end: End) -> Result<(), PortError> {
        let Self { history, hold } = self;
        let by_samples = batch.samples.iter().map(|it| it.device);
        let mut devices = by_samples.chain(batch.inboxes.iter().map(|it| it.0));
        if let Some(other) = devices.find(|it| !hold.tails.contains_key(it)) {
            return Err(PortError::Corrupt(format!("{other:?} is not held")));
        }
        sort(&mut batch.samples);
        let taken = absorb(&hold, &batch.samples, &history.zone).await?;
        // Answered before the end is sent: their statements may have to be
        // prepared first.
        write_beside(hold.client()?, &batch).await?;
        let beside = Beside {
            inboxes: &batch.inboxes,
            position: batch.position,
        };
        history.write(hold, &taken, beside, end).await
    }
}

/// Writes what has nothing to do with history.
async fn write_beside(client: &Object, batch: &IntakeBatch) -> Result<(), PortError> {
    in_time(async {
        append_events(client, &batch.events).await?;
        if !batch.reports.is_empty() {
            save_reports(client, &batch.reports, true).await?;
        }
        Ok(())
    })
    .await?;
    if !batch.reclaimed.is_empty() {
        refused::take_up(client, &batch.reclaimed).await?;
    }
    if !batch.refused.is_empty() {
        refused::put_aside(client, &batch.refused).await?;
    }
    Ok(())
}
