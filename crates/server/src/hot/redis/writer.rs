//! What is written behind: taken at once, buffered within bounds, and sent in
//! pipelined batches, the next when the last one ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::command::Command;
use dormouse_core::directory::Directory;
use dormouse_core::event::Event;
use dormouse_core::ids::{DeviceKey, DeviceKeyMap};
use dormouse_core::ports::PortError;
use redis::Cmd;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::buffers::{Buffers, EVENTS_MAX, Put, SHOWS_MAX, push_bounded, put_back};
use super::keys::Keys;
use super::link::Link;
use super::ring::Rings;
use super::scripts::Scripts;
use super::{events, seen, show};

/// What waits is collected for so long, unless somebody waits for it.
const LINGER: Duration = Duration::from_millis(100);
/// How many commands to Redis one round trip carries.
const COMMANDS_AT_ONCE: usize = 1_000;
/// How long a reader waits for what it wrote before.
const PATIENCE: Duration = Duration::from_millis(900);

/// Takes what is to be written and writes it behind.
pub(super) struct Writer {
    pub(super) link: Arc<Link>,
    pub(super) keys: Keys,
    pub(super) scripts: Arc<Scripts>,
    pub(super) directory: Arc<dyn Directory>,
    buffers: Mutex<Buffers>,
    dirty: Notify,
    urgent: Notify,
    /// How many rounds of writing are done.
    done: watch::Sender<u64>,
    rings: tokio::sync::Mutex<Rings>,
}

impl Writer {
    pub(super) fn new(
        link: Arc<Link>,
        keys: Keys,
        scripts: Arc<Scripts>,
        directory: Arc<dyn Directory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            link,
            keys,
            scripts,
            directory,
            buffers: Mutex::default(),
            dirty: Notify::new(),
            urgent: Notify::new(),
            done: watch::Sender::new(0),
            rings: tokio::sync::Mutex::default(),
        })
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, put: Put) {
        self.buffers().put(put);
        self.dirty.notify_one();
    }

    pub(super) fn seen(&self, device: DeviceKey, at: Timestamp) {
        self.buffers().seen(device, at);
        self.dirty.notify_one();
    }

    pub(super) fn show(&self, command: &Command) {
        push_bounded(&mut self.buffers().shows, command.clone(), SHOWS_MAX);
        self.dirty.notify_one();
    }

    pub(super) fn note_event(&self, event: &Event) {
        push_bounded(&mut self.buffers().events, event.clone(), EVENTS_MAX);
        self.dirty.notify_one();
    }

    /// Waits until all that was taken before is written.
    ///
    /// # Errors
    /// When Redis cannot be reached, or does not keep up.
    pub(super) async fn written(&self) -> Result<(), PortError> {
        self.link.check()?;
        let wanted = {
            let buffers = self.buffers();
            match (buffers.is_empty(), buffers.writing) {
                (true, false) => return Ok(()),
                (true, true) => buffers.begun,
                (false, _) => buffers.begun + 1,
            }
        };
        self.urgent.notify_one();
        let (mut done, mut up) = (self.done.subscribe(), self.link.up());
        let waiting = async {
            tokio::select! {
                _ = done.wait_for(|done| *done >= wanted) => Ok(()),
                _ = up.wait_for(|up| !up) => self.link.check(),
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await;
        in_time.unwrap_or_else(|_| Err(PortError::unavailable("redis does not keep up")))
    }

    /// Writes until `stop`, and once more then.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let mut up = self.link.up();
        loop {
            let ready = async {
                while self.buffers().is_empty() {
                    self.dirty.notified().await;
                }
                up.wait_for(|up| *up).await.ok();
                tokio::time::timeout(LINGER, self.urgent.notified())
                    .await
                    .ok();
            };
            if stop.run_until_cancelled(ready).await.is_none() {
                self.round().await;
                return Ok(());
            }
            self.round().await;
        }
    }

    /// Writes all that waits now; what could not be written waits on.
    async fn round(&self) {
        let (puts, seen, shows, events, round) = {
            let mut buffers = self.buffers();
            buffers.begun += 1;
            buffers.writing = true;
            (
                buffers.take_puts(),
                std::mem::take(&mut buffers.seen),
                std::mem::take(&mut buffers.shows),
                std::mem::take(&mut buffers.events),
                buffers.begun,
            )
        };
        let (puts, seen, shows, events) = tokio::join!(
            self.write_puts(puts),
            self.write_seen(seen),
            self.write_shows(shows),
            self.write_events(events)
        );
        let whole = puts.is_empty() && seen.is_empty() && shows.is_empty() && events.is_empty();
        let mut buffers = self.buffers();
        buffers.writing = false;
        if !puts.is_empty() {
            buffers.put_back(puts);
        }
        for (device, at) in seen {
            buffers.seen(device, at);
        }
        put_back(&mut buffers.shows, shows, SHOWS_MAX);
        put_back(&mut buffers.events, events, EVENTS_MAX);
        drop(buffers);
        if whole {
            self.done.send_replace(round);
        } else {
            self.dirty.notify_one();
        }
    }

    /// Returns what could not be written.
    async fn write_puts(&self, puts: VecDeque<Put>) -> VecDeque<Put> {
        match self.rings.lock().await.write(self, &puts).await {
            Ok(()) => VecDeque::new(),
            Err(_) => puts,
        }
    }

    async fn write_seen(&self, seen: DeviceKeyMap<Timestamp>) -> DeviceKeyMap<Timestamp> {
        let commands = seen::commands(self, &seen);
        match self.send(commands).await {
            Ok(()) => DeviceKeyMap::default(),
            Err(_) => seen,
        }
    }

    async fn write_shows(&self, shows: VecDeque<Command>) -> VecDeque<Command> {
        let commands: Vec<_> = shows
            .iter()
            .flat_map(|command| show::commands(self, command))
            .collect();
        match self.send(commands).await {
            Ok(()) => VecDeque::new(),
            Err(_) => shows,
        }
    }

    async fn write_events(&self, events: VecDeque<Event>) -> VecDeque<Event> {
        let commands: Vec<_> = events
            .iter()
            .flat_map(|event| events::commands(self, event))
            .collect();
        match self.send(commands).await {
            Ok(()) => VecDeque::new(),
            Err(_) => events,
        }
    }

    /// Sends in portions; what Redis refuses is counted by the link.
    async fn send(&self, commands: Vec<Cmd>) -> Result<(), PortError> {
        let mut commands = commands.into_iter();
        while commands.len() > 0 {
            let some = commands.by_ref().take(COMMANDS_AT_ONCE).collect();
            self.link.run(some).await?;
        }
        Ok(())
    }
}
