//! Messages that the store refuses for what they are: found, put aside with
//! the commit of the others, and tried again when a person wants it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;

use super::committer::Committer;
use super::doubt::Doubt;
use super::keep::Besides;
use super::lane::Mode;
use super::sieve::Sieve;
use crate::ids::{DeviceId, DeviceKey};
use crate::ports::PortError;
use crate::ports::intake::RefusedMessage;
use crate::record::Entry;
use crate::services::ingest::bump;

/// Devices whose messages are tried apart from those of others, since some
/// were refused; the longest known is forgotten first.
const SUSPECTS_MAX: usize = 256;
/// Things to tell that nobody has asked for yet; more are not kept.
const NEWS_MAX: usize = 64;
/// Messages put aside that are tried again in one go.
const AGAIN_MAX: usize = 256;

/// What changed about messages that the store refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusalNews {
    /// A device's messages are refused and put aside from now on.
    Refused {
        /// Whose; `None` where the device is unknown by now.
        device: Option<DeviceId>,
        /// Why the first was.
        why: String,
    },
    /// A device's messages are taken again.
    Taken {
        /// Whose.
        device: Option<DeviceId>,
    },
}

/// What is known of messages that are refused.
#[derive(Default)]
pub(super) struct Sifting {
    /// Of the batch under way, where some of it is refused.
    pub(super) sieve: Option<Sieve>,
    suspects: VecDeque<DeviceKey>,
}

/// What a batch came to.
pub(super) struct Settled {
    /// Samples given to the store.
    pub(super) samples: usize,
    /// Messages put aside.
    pub(super) refused: usize,
}

impl Sifting {
    fn is_suspect(&self, device: DeviceKey) -> bool {
        self.suspects.contains(&device)
    }

    fn begin(&self, entries: &[Entry]) -> Sieve {
        Sieve::new(entries.iter().map(Entry::device), |it| self.is_suspect(it))
    }
}

impl Committer {
    /// Keeps `entries`, or comes one step closer to knowing which of them the
    /// store refuses, and returns `None`. What is refused is put aside in the
    /// same transaction.
    pub(super) async fn settle(
        &self,
        sifting: &mut Sifting,
        entries: &[Entry],
        mut besides: Besides,
        doubt: &mut Option<Doubt>,
    ) -> Result<Option<Settled>, PortError> {
        let suspected = || entries.iter().any(|it| sifting.is_suspect(it.device()));
        if sifting.sieve.is_none() && !sifting.suspects.is_empty() && suspected() {
            sifting.sieve = Some(sifting.begin(entries));
        }
        if let Some(tried) = sifting.sieve.as_ref().and_then(Sieve::next) {
            self.try_some(sifting, entries, &tried).await?;
            return Ok(None);
        }
        let found = sifting.sieve.as_ref().map(Sieve::found).unwrap_or_default();
        let put_aside = |(index, why): (&usize, &&str)| aside(entries.get(*index)?, why);
        besides.refused = found.iter().filter_map(put_aside).collect();
        let refused = besides.refused.len();
        let good = entries.iter().enumerate();
        let good = good.filter(|(index, _)| !found.contains_key(index));
        match self
            .keep(good.map(|(_, entry)| entry), besides, doubt)
            .await
        {
            Ok(samples) => {
                drop(found);
                self.note_found(sifting, entries);
                bump(&self.refused, refused as u64);
                bump(&self.aside, refused as u64);
                Ok(Some(Settled { samples, refused }))
            }
            Err(error) if error.is_of_the_data() => {
                drop(found);
                let looks_on = match &mut sifting.sieve {
                    None => {
                        sifting.sieve = Some(sifting.begin(entries));
                        true
                    }
                    Some(sieve) => sieve.distrust(),
                };
                if looks_on {
                    return Ok(None);
                }
                // Each of them passed by itself.
                sifting.sieve = None;
                Err(PortError::unavailable(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn try_some(
        &self,
        sifting: &mut Sifting,
        entries: &[Entry],
        tried: &[usize],
    ) -> Result<(), PortError> {
        let outcome = self
            .rehearse(tried.iter().filter_map(|index| entries.get(*index)))
            .await;
        let Some(sieve) = &mut sifting.sieve else {
            return Ok(());
        };
        match outcome {
            Ok(()) => sieve.note_passed(),
            Err(error) if error.is_of_the_data() => {
                sieve.note_refused(&error.to_string());
                if sieve.is_hopeless() {
                    sifting.sieve = None;
                    return Err(PortError::unavailable(error));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The batch is kept: notes whose messages were refused, and whose were
    /// not any more.
    fn note_found(&self, sifting: &mut Sifting, entries: &[Entry]) {
        let Some(sieve) = sifting.sieve.take() else {
            return;
        };
        let found = sieve.found();
        let found = found.into_iter().filter_map(|(index, why)| {
            let entry = entries.get(index)?;
            Some((entry.device(), why))
        });
        let found: BTreeMap<_, _> = found.collect();
        let mut cleared: BTreeSet<_> = entries.iter().map(Entry::device).collect();
        cleared.retain(|it| sifting.is_suspect(*it) && !found.contains_key(it));
        sifting.suspects.retain(|it| !cleared.contains(it));
        for device in cleared {
            self.tell(RefusalNews::Taken {
                device: self.id_of(device),
            });
        }
        for (device, why) in found {
            if sifting.is_suspect(device) {
                continue;
            }
            if sifting.suspects.len() == SUSPECTS_MAX {
                sifting.suspects.pop_front();
            }
            sifting.suspects.push_back(device);
            self.tell(RefusalNews::Refused {
                device: self.id_of(device),
                why: why.to_owned(),
            });
        }
    }

    fn id_of(&self, device: DeviceKey) -> Option<DeviceId> {
        self.directory.by_key(device).map(|it| it.id.clone())
    }

    fn tell(&self, news: RefusalNews) {
        let mut told = self.news();
        if told.len() < NEWS_MAX {
            told.push(news);
        }
    }

    /// What changed about refused messages since this was asked last.
    pub fn refusal_news(&self) -> Vec<RefusalNews> {
        std::mem::take(&mut self.news())
    }

    /// Counts the messages that are put aside, whichever node did it, and
    /// tries those again that a person wants tried again. Call it now and then.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_aside(&self) -> Result<(), PortError> {
        if self.lane.backlog().mode == Mode::Direct {
            for entry in self.store.wanted_again(AGAIN_MAX).await? {
                match self.try_again(&entry).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    // Another node may have taken it up meanwhile.
                    Err(error) => {
                        if self.store.wanted_again(AGAIN_MAX).await?.contains(&entry) {
                            return Err(error);
                        }
                    }
                }
            }
        }
        let aside = self.store.refused().await?;
        self.aside.store(aside, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps one message that was put aside, or says anew why it is refused;
    /// `false` where it is not the time.
    async fn try_again(&self, bytes: &[u8]) -> Result<bool, PortError> {
        let flight = self.flight.lock().await;
        // What is in doubt is told by the versions of inboxes.
        if flight.doubt.is_some() || !flight.batch.entries.is_empty() {
            return Ok(false);
        }
        let Some(entry) = Entry::decode(bytes) else {
            return Ok(true);
        };
        let mut besides = Besides {
            reclaimed: vec![bytes.into()],
            ..Besides::default()
        };
        // Whether it was made is told by what is no longer aside.
        let mut doubt = None;
        let kept = self.keep([&entry].into_iter(), besides, &mut doubt).await;
        if let Err(error) = kept {
            if !error.is_of_the_data() {
                return Err(error);
            }
            besides = Besides {
                refused: aside(&entry, &error.to_string()).into_iter().collect(),
                ..Besides::default()
            };
            self.keep(std::iter::empty(), besides, &mut doubt).await?;
        }
        drop(flight);
        Ok(true)
    }
}

/// A message for people to look at; `None` as in [`Entry::encode`].
fn aside(entry: &Entry, why: &str) -> Option<RefusedMessage> {
    Some(RefusedMessage {
        device: entry.device(),
        entry: entry.encode()?.as_slice().into(),
        shown: entry.to_json().to_string(),
        why: why.to_owned(),
    })
}
