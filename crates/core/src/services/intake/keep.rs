//! One batch, one transaction.

use super::committer::{Committer, Flight, matters};
use super::doubt::Doubt;
use super::judge::{Judge, Judged};
use crate::ids::DeviceKey;
use crate::ports::PortError;
use crate::ports::intake::{IntakeTransaction, RefusedMessage};
use crate::ports::journal::JournalPosition;
use crate::record::Entry;
use crate::services::ingest::{Inbox, bump};

/// What a transaction keeps besides the messages themselves.
#[derive(Default)]
pub(super) struct Besides {
    /// Messages to put aside.
    pub(super) refused: Vec<RefusedMessage>,
    /// Messages taken up that were put aside.
    pub(super) reclaimed: Vec<Box<[u8]>>,
    /// How far the journal is taken in with it.
    pub(super) position: Option<JournalPosition>,
    /// How many messages the journal has of it.
    pub(super) in_journal: usize,
}

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

    /// Keeps `entries`, and what there is besides, in one transaction; returns
    /// how many samples were given to the store.
    pub(super) async fn keep<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry> + Clone + Send,
        besides: Besides,
        doubt: &mut Option<Doubt>,
    ) -> Result<usize, PortError> {
        let (transaction, judged) = self.judge(entries).await?;
        let Judged {
            mut batch,
            inboxes,
            repeats,
        } = judged;
        batch.refused = besides.refused;
        batch.reclaimed = besides.reclaimed;
        batch.position = besides.position;
        let samples = batch.samples.len();
        let version_of = |device| self.with(device, |it| it.version());
        if !batch.is_empty() {
            *doubt = Doubt::about(&batch, version_of, besides.in_journal);
            if let Err(error) = transaction.commit(batch).await {
                if error.is_of_the_data() {
                    *doubt = None;
                }
                return Err(error);
            }
            *doubt = None;
        }
        for (device, inbox) in inboxes {
            let version = version_of(device) + 1;
            self.with(device, |it| it.store(version, inbox));
        }
        bump(&self.reception.tally.repeats, repeats);
        Ok(samples)
    }

    /// Whether the store would take `entries`.
    pub(super) async fn rehearse<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry> + Clone + Send,
    ) -> Result<(), PortError> {
        let (transaction, judged) = self.judge(entries).await?;
        transaction.rehearse(judged.batch).await
    }

    /// A transaction that holds the devices of `entries`, and what these come
    /// to in it.
    async fn judge<'a>(
        &self,
        entries: impl Iterator<Item = &'a Entry> + Clone + Send,
    ) -> Result<(Box<dyn IntakeTransaction>, Judged), PortError> {
        let held = held(entries.clone());
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
        Ok((transaction, judge.finish(rand::random())))
    }
}

/// The devices of `entries` in order, and whether their inboxes have a say.
fn held<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<(DeviceKey, bool)> {
    let mut held: Vec<_> = entries.map(|it| (it.device(), matters(it))).collect();
    held.sort_unstable_by_key(|(device, matters)| (*device, !matters));
    held.dedup_by_key(|(device, _)| *device);
    held
}
