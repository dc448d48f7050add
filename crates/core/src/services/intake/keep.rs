//! One batch, one transaction.

use super::committer::{Committer, Flight, matters};
use super::doubt::Doubt;
use super::judge::{Judge, Judged};
use super::lane::Item;
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::intake::InboxVersion;
use crate::ports::journal::JournalPosition;
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

    /// Keeps `items`, which are `entries` of the journal, in one transaction;
    /// returns how many samples were given to the store.
    pub(super) async fn keep(
        &self,
        items: &[Item],
        position: Option<JournalPosition>,
        entries: usize,
        doubt: &mut Option<Doubt>,
    ) -> Result<usize, PortError> {
        let known = self.known(items);
        let mut transaction = self.store.begin(&known).await?;
        for changed in transaction.changed() {
            // Bytes of another version of Dormouse say nothing to this one.
            let inbox = Inbox::restore(&changed.bytes).unwrap_or_default();
            self.with(changed.device, |it| it.adopt(changed.version, inbox));
        }
        let held = known.iter().map(|(device, _)| *device);
        let versions: Vec<_> = held
            .map(|device| (device, self.with(device, |it| it.version())))
            .collect();
        let inboxes = versions
            .iter()
            .map(|(device, _)| (*device, self.with(*device, |it| it.stored().clone())));
        let mut judge = Judge::new(&*self.directory, inboxes);
        for item in items {
            judge.take(&item.entry);
        }
        let Judged {
            mut batch,
            inboxes,
            repeats,
        } = judge.finish();
        batch.position = position;
        let samples = batch.samples.len();
        let version_of = |device| {
            let found = versions.binary_search_by_key(&device, |(it, _)| *it);
            found.map_or(0, |index| versions[index].1)
        };
        if !batch.is_empty() {
            *doubt = Doubt::about(&batch, version_of, entries);
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

    /// The devices whose inboxes matter to `items`, with the versions known
    /// here.
    fn known(&self, items: &[Item]) -> Vec<(DeviceKey, InboxVersion)> {
        let matter = items.iter().filter(|item| matters(&item.entry));
        let mut devices: Vec<_> = matter.map(|item| item.entry.device()).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
            .into_iter()
            .map(|device| (device, self.with(device, |it| it.version())))
            .collect()
    }
}
