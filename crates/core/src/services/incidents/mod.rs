//! Finds devices of one place that went offline together.
//!
//! Losses are collected until the site has been quiet for a moment; then
//! [`group`] tells which of them share a place. The incident ends when its
//! last device is back.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use crate::clock::{Clock, Instant, Timestamp};
use crate::device::Device;
use crate::directory::Directory;
use crate::event::{Event, EventType, Origin, Severity};
use crate::ids::{DeviceId, DeviceKey, EventId, IncidentId, uuid_v7};
use crate::incident::{Gone, Group, Incident, Returned, group};
use crate::location::is_inside;
use crate::ports::{IncidentQuery, IncidentStore, PortError};
use crate::services::events::EventLog;

/// How long no further device may go before the losses are judged.
const QUIET: Duration = Duration::from_secs(10);
/// How long losses are collected at most.
const COLLECT_MAX: Duration = Duration::from_secs(60);
/// How long after their judgement losses are remembered by nodes that do not
/// judge: a judge that dies is replaced within that time.
const STAND_BY: Duration = Duration::from_secs(20);
/// How many open incidents are taken up at the start.
const OPEN_MAX: usize = 1_000;
/// How many ended incidents are deleted at a time.
const PRUNE_BATCH: usize = 1_000;

/// Keeps incidents.
pub struct Incidents {
    store: Arc<dyn IncidentStore>,
    directory: Arc<dyn Directory>,
    events: Arc<EventLog>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Those that went since the last judgement; bounded by the number of devices.
    gone: BTreeMap<DeviceId, Gone>,
    /// Those of them that are back already.
    back: HashSet<DeviceId>,
    first: Instant,
    last: Instant,
    /// Incidents that have not ended, and those that have but are not kept yet.
    open: Vec<Tracked>,
}

struct Tracked {
    incident: Incident,
    unsaved: bool,
}

impl Incidents {
    /// Incidents in `store`, judged with the help of `directory`.
    #[must_use]
    pub fn new(
        store: Arc<dyn IncidentStore>,
        directory: Arc<dyn Directory>,
        events: Arc<EventLog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            directory,
            events,
            clock,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Takes up the incidents that were open when the process ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn restore(&self) -> Result<(), PortError> {
        let query = IncidentQuery {
            open_only: true,
            after: None,
            limit: OPEN_MAX,
        };
        let open = self.store.list(&query).await?;
        self.state().open = open
            .into_iter()
            .map(|incident| Tracked {
                incident,
                unsaved: false,
            })
            .collect();
        Ok(())
    }

    /// Takes the judging over from another node: its incidents, and those of
    /// the last losses that it had not judged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_over(&self, is_online: impl Fn(DeviceKey) -> bool) -> Result<(), PortError> {
        self.restore().await?;
        let now = self.clock.now();
        let mut state = self.state();
        let State { gone, open, .. } = &mut *state;
        for tracked in open.iter_mut() {
            let devices = tracked.incident.devices.keys().cloned();
            for id in devices.collect::<Vec<_>>() {
                gone.remove(&id);
                let device = self.directory.by_id(&id);
                if device.is_none_or(|device| is_online(device.key)) {
                    tracked.unsaved |= tracked.incident.returned(&id, now);
                }
            }
        }
        Ok(())
    }

    /// Leaves the judging to another node: forgets what that one has judged
    /// by now. Call it every second while it is so.
    pub fn stand_by(&self) {
        let now = self.clock.instant();
        let mut state = self.state();
        state.open.clear();
        if !state.gone.is_empty() && now >= state.judge_at() + STAND_BY {
            state.gone.clear();
            state.back.clear();
        }
    }

    /// `device` went offline.
    pub fn gone(&self, device: &Device) {
        let now = self.clock.instant();
        let mut state = self.state();
        if state.gone.is_empty() {
            state.first = now;
        }
        state.last = now;
        state.back.remove(&device.id);
        let gone = Gone {
            device: device.id.clone(),
            location: device.settings.location.clone(),
            at: self.clock.now(),
        };
        state.gone.insert(device.id.clone(), gone);
        drop(state);
        self.changed.notify_one();
    }

    /// `device` is back, or was deleted.
    pub fn back(&self, device: &DeviceId) {
        let now = self.clock.now();
        let mut state = self.state();
        if state.gone.contains_key(device) {
            state.back.insert(device.clone());
        }
        let mut any = false;
        for tracked in &mut state.open {
            let changed = tracked.incident.returned(device, now);
            tracked.unsaved |= changed;
            any |= changed;
        }
        drop(state);
        if any {
            self.changed.notify_one();
        }
    }

    /// When [`Self::run_due`] should run next; `None` while nothing is to be done.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = self.state();
        let judge = (!state.gone.is_empty()).then(|| state.judge_at());
        let save = state.open.iter().any(|it| it.unsaved);
        judge.or_else(|| save.then(|| self.clock.instant()))
    }

    /// Waits until [`Self::next_deadline`] may have changed.
    pub async fn deadline_moved(&self) {
        self.changed.notified().await;
    }

    /// Judges the losses if it is time, and keeps what changed.
    ///
    /// # Errors
    /// When the store fails; nothing is lost, the next run tries again.
    pub async fn run_due(&self, is_online: impl Fn(DeviceKey) -> bool) -> Result<(), PortError> {
        self.judge(is_online);
        loop {
            let unsaved = self.state().open.iter_mut().find_map(|tracked| {
                std::mem::take(&mut tracked.unsaved).then(|| tracked.incident.clone())
            });
            let Some(incident) = unsaved else { break };
            if let Err(error) = self.store.put(&incident).await {
                let mut state = self.state();
                let same = |tracked: &&mut Tracked| tracked.incident.id == incident.id;
                if let Some(tracked) = state.open.iter_mut().find(same) {
                    tracked.unsaved = true;
                }
                return Err(error);
            }
        }
        let is_needed = |tracked: &Tracked| tracked.unsaved || tracked.incident.ended_at.is_none();
        self.state().open.retain(is_needed);
        Ok(())
    }

    /// Lists incidents, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, query: &IncidentQuery) -> Result<Vec<Incident>, PortError> {
        self.store.list(query).await
    }

    /// Deletes ended incidents older than `keep_days` and returns how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prune(&self, keep_days: u32) -> Result<usize, PortError> {
        let keep = Duration::from_secs(u64::from(keep_days) * 86_400);
        let before: Timestamp = self.clock.now() - keep;
        self.store.prune(before, PRUNE_BATCH).await
    }

    fn judge(&self, is_online: impl Fn(DeviceKey) -> bool) {
        let (gone, back) = {
            let mut state = self.state();
            if state.gone.is_empty() || self.clock.instant() < state.judge_at() {
                return;
            }
            let gone: Vec<Gone> = std::mem::take(&mut state.gone).into_values().collect();
            (gone, std::mem::take(&mut state.back))
        };
        let lost: HashSet<&DeviceId> = gone.iter().map(|it| &it.device).collect();
        let devices = self.directory.all();
        let present: Vec<&str> = devices
            .iter()
            .filter(|device| lost.contains(&device.id) || is_online(device.key))
            .map(|device| device.settings.location.as_str())
            .collect();
        let count = |place: &str| present.iter().filter(|it| is_inside(it, place)).count();
        for found in group(&gone, count) {
            self.open(&found, &back, &is_online);
        }
    }

    fn open(
        &self,
        found: &Group<'_>,
        back: &HashSet<DeviceId>,
        is_online: &impl Fn(DeviceKey) -> bool,
    ) {
        let now = self.clock.now();
        let started_at = found.gone.iter().map(|it| it.at).min().unwrap_or(now);
        let mut incident = Incident {
            id: IncidentId(uuid_v7(now)),
            location: found.location.to_owned(),
            started_at,
            ended_at: None,
            devices: found
                .gone
                .iter()
                .map(|it| (it.device.clone(), Returned::NotYet))
                .collect(),
        };
        self.events.record(opened(&incident, now));
        let mut state = self.state();
        for gone in &found.gone {
            let device = self.directory.by_id(&gone.device);
            let returned = device.is_none_or(|device| is_online(device.key));
            if returned || back.contains(&gone.device) {
                incident.returned(&gone.device, now);
            }
        }
        state.open.push(Tracked {
            incident,
            unsaved: true,
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge_at(&self) -> Instant {
        (self.last + QUIET).min(self.first + COLLECT_MAX)
    }
}

impl std::fmt::Debug for Incidents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incidents")
            .field("open", &self.state().open.len())
            .finish_non_exhaustive()
    }
}

fn opened(incident: &Incident, now: Timestamp) -> Event {
    Event {
        id: EventId(uuid_v7(now)),
        device: None,
        socket: None,
        kind: EventType::Incident,
        severity: Severity::Critical,
        ts: incident.started_at,
        received_at: now,
        origin: Origin::Server,
        data: json!({
            "incidentId": incident.id,
            "location": incident.location,
            "devices": incident.devices.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
