//! One batch, one transaction.

use super::committer::{Committer, Flight, matters};
use super::doubt::Doubt;
use super::judge::{Judge, Judged};
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::journal::JournalPosition;
use crate::record::Entry;
use crate::services::ingest::{Inbox, bump};

impl Committer {
    /// Whether the batch written last without an answer was kept, and how many
    /// entries of the journal it had.
    pub(super) async fn was_kept(&self, flight: &mut Flight) -> Result<Option<usize>, PortError> {
        let Some(doubt) = &flight.doubt else {
            return Ok(None);
        };
        let mut transaction = self.store.begin(&[doubt.known()]).await?;
        let kept = doubt.is_settled_by(&transaction.changed());
        drop(transaction);
        let entries = doubt.entries;
        flight.doubt = None;
        Ok(kept.then_some(entries))
    }

    /// Keeps `entries`, of which the journal has `in_journal`, in one
    /// transaction; returns how many samples were given to the store.
    pub(super) async fn keep(
        &self,
        entries: &[Entry],
        position: Option<JournalPosition>,
        in_journal: usize,
        doubt: &mut Option<Doubt>,
    ) -> Result<usize, PortError> {
        let held = held(entries);
        let known: Vec<_> = held
            .iter()
            .map(|(device, _)| (*device, self.with(*device, |it| it.version())))
            .collect();
        let mut transaction = self.store.begin(&known).await?;
        for changed in transaction.changed() {
            // Bytes of another version of Dormouse say nothing to this one.
            let inbox = Inbox::restore(&changed.bytes).unwrap_or_default();
            self.with(changed.device, |it| it.adopt(changed.version, inbox));
        }
        let matter = held.iter().filter(|(_, matters)| *matters);
        let inboxes =
            matter.map(|(device, _)| (*device, self.with(*device, |it| it.stored().clone())));
        let mut judge = Judge::new(&*self.directory, inboxes);
        for entry in entries {
            judge.take(entry);
        }
        let Judged {
            mut batch,
            inboxes,
            repeats,
        } = judge.finish(rand::random());
        batch.position = position;
        let samples = batch.samples.len();
        let version_of = |device| self.with(device, |it| it.version());
        if !batch.is_empty() {
            *doubt = Doubt::about(&batch, version_of, in_journal);
            transaction.commit(batch).await?;
            *doubt = None;
        }
        for (device, inbox) in inboxes {
            let version = version_of(device) + 1;
            self.with(device, |it| it.store(version, inbox));
        }
        bump(&self.reception.tally.repeats, repeats);
        Ok(samples)
    }
}

/// The devices of `entries` in order, and whether their inboxes have a say.
fn held(entries: &[Entry]) -> Vec<(DeviceKey, bool)> {
    let each = entries.iter().map(|it| (it.device(), matters(it)));
    let mut held: Vec<_> = each.collect();
    held.sort_unstable_by_key(|(device, matters)| (*device, !matters));
    held.dedup_by_key(|(device, _)| *device);
    held
}
