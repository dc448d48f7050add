//! Tells EMQX of devices that may no longer come in, until it is done.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dormouse_core::device::Device;
use dormouse_core::event::Origin;
use dormouse_core::health::PartHandle;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{DeviceChange, DeviceWatcher, KickReason, SessionControl};
use dormouse_core::topic::{Channel, Topics};
use rand::Rng as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{ApiError, EmqxApi};

/// Devices that EMQX must be told about; the newest word about each counts.
/// Beyond it the oldest is dropped, which health tells: what is stored in the
/// database keeps a device out all the same, at its next connection.
const WAITING_MAX: usize = 100_000;
/// The upper bound of the pause after a first failure.
const PAUSE: Duration = Duration::from_millis(500);
/// The upper bound of any pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What EMQX is to be told about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Its sessions end, it may not come back, and what it left is forgotten.
    Banned,
    /// Its sessions end; it may come back.
    Replaced,
    /// It may come in.
    Restored,
}

/// Ends devices' sessions at EMQX: put it where sessions are controlled, and
/// among those who hear of changes to devices.
#[derive(Debug)]
pub struct EmqxSessions {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    words: HashMap<DeviceId, Word>,
    order: VecDeque<DeviceId>,
    dropped: u64,
}

/// Works off what EMQX is to be told.
#[derive(Debug)]
pub struct SessionsWorker {
    sessions: Arc<EmqxSessions>,
    api: EmqxApi,
    topics: Topics,
    health: PartHandle,
}

impl EmqxSessions {
    /// The two ends; `health` is the part that says whether EMQX listens.
    #[must_use]
    pub fn new(api: EmqxApi, topics: Topics, health: PartHandle) -> (Arc<Self>, SessionsWorker) {
        let sessions = Arc::new(Self {
            waiting: Mutex::default(),
            news: Notify::new(),
        });
        let worker = SessionsWorker {
            sessions: Arc::clone(&sessions),
            api,
            topics,
            health,
        };
        (sessions, worker)
    }

    fn tell(&self, device: &DeviceId, word: Word) {
        self.waiting().put(device, word);
        self.news.notify_one();
    }

    /// No code here can panic between two writes, so a poisoned lock holds good data.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, device: &DeviceId, word: Word) {
        if self.words.insert(device.clone(), word).is_some() {
            return;
        }
        self.order.push_back(device.clone());
        if self.order.len() > WAITING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.words.remove(&oldest);
            self.dropped += 1;
        }
    }

    fn first(&self) -> Option<(DeviceId, Word)> {
        let device = self.order.front()?;
        Some((device.clone(), *self.words.get(device)?))
    }

    /// `device` could not be told about: the others have their turn first.
    fn put_back(&mut self, device: &DeviceId) {
        if self.order.front() == Some(device) {
            self.order.rotate_left(1);
        }
    }

    /// EMQX heard `word` about `device`; a newer word still waits.
    fn told(&mut self, device: &DeviceId, word: Word) {
        if self.words.get(device) == Some(&word) && self.order.front() == Some(device) {
            self.words.remove(device);
            self.order.pop_front();
        }
    }
}

impl SessionControl for EmqxSessions {
    fn kick(&self, device: &DeviceId, reason: KickReason) {
        let word = match reason {
            KickReason::Revoked | KickReason::Deleted => Word::Banned,
            KickReason::CredentialsChanged | KickReason::Refused => Word::Replaced,
        };
        self.tell(device, word);
    }
}

impl DeviceWatcher for EmqxSessions {
    fn changed(&self, device: &Device, change: DeviceChange, _by: &Origin) {
        match change {
            DeviceChange::Added | DeviceChange::Approved | DeviceChange::HandedOver => {
                self.tell(&device.id, Word::Restored);
            }
            // The others come by way of `kick`.
            DeviceChange::CredentialsChanged
            | DeviceChange::Deleted
            | DeviceChange::Rejected
            | DeviceChange::Edited => {}
        }
    }
}

impl SessionsWorker {
    /// Tells EMQX until `stop`.
    ///
    /// # Errors
    /// Never: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.work()).await;
        Ok(())
    }

    async fn work(&self) {
        let mut failures = 0;
        self.report(self.api.check().await, &mut failures).await;
        loop {
            let next = self.sessions.waiting().first();
            let Some((device, word)) = next else {
                self.sessions.news.notified().await;
                continue;
            };
            let outcome = self.tell(&device, word).await;
            match outcome {
                Ok(()) => self.sessions.waiting().told(&device, word),
                Err(_) => self.sessions.waiting().put_back(&device),
            }
            self.report(outcome, &mut failures).await;
        }
    }

    /// Everything here may be done twice.
    async fn tell(&self, device: &DeviceId, word: Word) -> Result<(), ApiError> {
        let ended = match word {
            Word::Banned => {
                self.api.ban(device).await?;
                let ended = self.api.kick(device).await?;
                let status = self.topics.of(device, Channel::Status);
                self.api.clear_retained(&status).await?;
                ended
            }
            Word::Replaced => {
                self.api.unban(device).await?;
                self.api.kick(device).await?
            }
            Word::Restored => {
                self.api.unban(device).await?;
                0
            }
        };
        tracing::info!(device_id = %device, ?word, ended, "EMQX was told of the device");
        Ok(())
    }

    /// Says how it went, and waits after a failure.
    async fn report(&self, outcome: Result<(), ApiError>, failures: &mut u32) {
        match outcome {
            Ok(()) => {
                *failures = 0;
                let dropped = self.sessions.waiting().dropped;
                let is_news = if dropped == 0 {
                    self.health.up()
                } else {
                    self.health
                        .up_with(format!("{dropped} devices could not be told about"))
                };
                if is_news {
                    tracing::info!("EMQX's API answers");
                }
            }
            Err(error) => {
                let waiting = self.sessions.waiting().order.len();
                let detail = health_detail(&error);
                if self
                    .health
                    .down(format!("{detail}; {waiting} devices wait"))
                    || *failures == 0
                {
                    tracing::warn!(%error, waiting, "EMQX cannot be told of devices; trying again");
                }
                let bound = PAUSE
                    .saturating_mul(1 << (*failures).min(10))
                    .min(PAUSE_MAX);
                *failures = failures.saturating_add(1);
                let share = rand::rng().random_range(0.5..=1.0);
                tokio::time::sleep(bound.mul_f64(share)).await;
            }
        }
    }
}

/// The error for `/health`, which names no host.
const fn health_detail(error: &ApiError) -> &'static str {
    match error {
        ApiError::Setting { .. } => "a setting of EMQX's API cannot be used",
        ApiError::Refused { .. } => "EMQX does not take the API key",
        ApiError::Unreachable(_) => "EMQX's API does not answer",
        ApiError::Failed { .. } => "EMQX's API refuses",
        ApiError::Unreadable { .. } => "EMQX's API answers something unreadable",
    }
}

#[cfg(test)]
mod tests;
