//! What arrives: from a topic and a body to a device's message.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dormouse_core::clock::{Clock, Timestamp};
use dormouse_core::decode::decode_status;
use dormouse_core::device::DeviceState;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::journal::Receipt;
use dormouse_core::services::ingest::Inbound;
use dormouse_core::services::intake::WayIn;
use dormouse_core::services::registry::{JoinMode, Registry};
use dormouse_core::topic::{Channel, Topics};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::clients::{ClientEvent, SessionWatch};
use super::connection::WINDOW;
use super::link::Status;
use super::window::Ticket;
use super::wire::Message;
use crate::backoff::Backoff;

/// Messages of unknown devices that wait to be looked at. More than may be on
/// their way on every connection of this process; one of QoS 0 that
/// finds it full is dropped.
const STRANGERS: usize = 4 * WINDOW.get() as usize;
/// Unknown devices that are added in one go.
const AT_ONCE: usize = 256;

/// What arrivals work with.
#[derive(Clone)]
pub struct ArrivalsParts {
    /// The topic grammar.
    pub topics: Topics,
    /// Who the devices are.
    pub registry: Arc<Registry>,
    /// Where their messages go.
    pub way_in: Arc<dyn WayIn>,
    /// Hears of their sessions, where the broker tells.
    pub sessions: Arc<dyn SessionWatch>,
    /// What happens to a device that the broker let in and nobody here knows.
    pub unknown: JoinMode,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for ArrivalsParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrivalsParts").finish_non_exhaustive()
    }
}

/// Takes what arrives on any connection of this process.
pub(super) struct Arrivals {
    parts: ArrivalsParts,
    strangers: mpsc::Sender<Stranger>,
    status: Arc<Status>,
}

/// A message of a device that nobody here knows.
pub(super) struct Stranger {
    id: DeviceId,
    channel: Channel,
    message: Message,
    ticket: Option<Box<Ticket>>,
    received_at: Timestamp,
}

impl std::fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

impl Arrivals {
    /// Arrivals, and the reports of unknown devices for [`Arrivals::greet`].
    pub(super) fn new(
        parts: ArrivalsParts,
        status: Arc<Status>,
    ) -> (Arc<Self>, mpsc::Receiver<Stranger>) {
        let (strangers, waiting) = mpsc::channel(STRANGERS);
        let arrivals = Self {
            parts,
            strangers,
            status,
        };
        (Arc::new(arrivals), waiting)
    }

    /// Whether more should be read.
    pub(super) fn has_room(&self) -> bool {
        self.parts.way_in.has_room()
    }

    /// Waits until [`Self::has_room`].
    pub(super) async fn room(&self) {
        self.parts.way_in.room().await;
    }

    /// Takes a message. Never waits.
    pub(super) fn take(&self, message: Message, ticket: Option<Box<Ticket>>) {
        self.status.received.fetch_add(1, Ordering::Relaxed);
        let received_at = self.parts.clock.now();
        let Some((name, channel)) = self.parts.topics.split(&message.topic) else {
            return self.refuse(&message, ticket);
        };
        if let Err(ticket) = self.deliver(name, channel, &message, ticket, received_at) {
            let Ok(id) = DeviceId::parse(name) else {
                return self.refuse(&message, ticket);
            };
            let stranger = Stranger {
                id,
                channel,
                message: message.detached(),
                ticket,
                received_at,
            };
            // Dropping a ticket has the broker send the message again.
            self.strangers.try_send(stranger).ok();
        }
    }

    /// Hands a known device's message on; gives the ticket back where nobody
    /// knows the device.
    fn deliver(
        &self,
        name: &str,
        channel: Channel,
        message: &Message,
        ticket: Option<Box<Ticket>>,
        received_at: Timestamp,
    ) -> Result<(), Option<Box<Ticket>>> {
        let Some(device) = self.parts.registry.by_name(name) else {
            return Err(ticket);
        };
        match device.state {
            DeviceState::Active => {}
            DeviceState::Pending => {
                let registry = &self.parts.registry;
                registry.note_payload(device.key, channel, &message.payload);
                done(ticket);
                return Ok(());
            }
            DeviceState::Rejected | DeviceState::Deleted => {
                self.refuse(message, ticket);
                return Ok(());
            }
        }
        // Whether the broker or the device itself said so is not to be seen.
        let will = channel == Channel::Status
            && !message.retained
            && decode_status(&message.payload).is_ok_and(|it| !it.online);
        let inbound = Inbound {
            device: device.key,
            channel,
            payload: &message.payload,
            retained: message.retained,
            will,
            received_at,
        };
        let receipt = ticket.map(|it| it as Box<dyn Receipt>);
        self.parts.way_in.receive(&inbound, receipt);
        Ok(())
    }

    fn refuse(&self, message: &Message, ticket: Option<Box<Ticket>>) {
        self.status.unknown.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(topic = &*message.topic, "message of an unknown device");
        if let Some(ticket) = ticket {
            ticket.refuse("unknown device");
        }
    }

    /// Takes the broker's word on a client.
    pub(super) fn client(&self, event: &ClientEvent) {
        let Ok(id) = DeviceId::parse(&event.username) else {
            return;
        };
        if let Some(device) = self.parts.registry.by_id(&id) {
            let sessions = &self.parts.sessions;
            match event.end {
                None => sessions.began(device.key, event.session),
                Some(end) => sessions.ended(device.key, event.session, end),
            }
        }
    }

    /// Takes the messages of devices that another node has just added, and
    /// adds those that nobody knows and that report, until `stop`. While the
    /// database does not answer their messages wait.
    pub(super) async fn greet(
        self: Arc<Self>,
        mut waiting: mpsc::Receiver<Stranger>,
        stop: CancellationToken,
    ) {
        let mut strangers = Vec::new();
        loop {
            let some = waiting.recv_many(&mut strangers, AT_ONCE);
            match stop.run_until_cancelled(some).await {
                None | Some(0) => return,
                Some(_) => {}
            }
            let known = stop.run_until_cancelled(self.add(&strangers)).await;
            if known.is_none() {
                return;
            }
            for stranger in strangers.drain(..) {
                self.introduce(stranger);
            }
        }
    }

    async fn add(&self, strangers: &[Stranger]) {
        let knocking = strangers.iter().filter(|it| it.channel == Channel::Status);
        let ids: BTreeSet<&DeviceId> = knocking.map(|it| &it.id).collect();
        let ids: Vec<DeviceId> = ids.into_iter().cloned().collect();
        let mut backoff = Backoff::default();
        loop {
            let registry = &self.parts.registry;
            let found = match registry.refresh().await {
                Ok(()) => registry.discover(&ids, self.parts.unknown).await,
                Err(error) => Err(error),
            };
            match found {
                Ok(0) => return,
                Ok(added) => {
                    tracing::info!(added, "devices found at the broker");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "devices found at the broker were not added");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    fn introduce(&self, stranger: Stranger) {
        let Stranger {
            id,
            channel,
            message,
            ticket,
            received_at,
        } = stranger;
        let taken = self.deliver(id.as_str(), channel, &message, ticket, received_at);
        if let Err(ticket) = taken {
            self.refuse(&message, ticket);
        }
    }
}

fn done(ticket: Option<Box<Ticket>>) {
    if let Some(ticket) = ticket {
        ticket.done();
    }
}
