//! The door: what callers of the dispatcher see.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::DispatcherParts;
use super::id_source::IdSource;
use super::inbox::{
    AckTicket, BatchTicket, CancelTicket, Evidence, Inbox, NotMade, Request, SendTicket,
};
use super::keys::{fingerprint_of_batch, fingerprint_of_command, replayed_batch};
use super::request::{
    BatchRequest, BatchStarted, CancelError, Cancelled, KEY_LIFE, SendError, SendRequest, Sent,
};
use super::seams::{Ack, Fleet};
use super::shared::CommandNodes;
use crate::clock::Clock;
use crate::command::{BATCH_TARGETS_MAX, Batch, BatchReport, Command, SocketReport, Target};
use crate::device::Device;
use crate::event::Origin;
use crate::ids::{BatchId, CommandId, DeviceId, DeviceKey, SocketId, uuid_v7};
use crate::ports::journal::Receipt;
use crate::ports::{CommandStore, PortError};

/// Commands forgotten in one transaction, so that others do not wait long.
const PURGE_STEP: u32 = 500;

/// Sends, settles and finds commands.
pub struct Dispatcher {
    pub(super) store: Arc<dyn CommandStore>,
    pub(super) fleet: Arc<dyn Fleet>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) nodes: Option<CommandNodes>,
    pub(super) ids: Mutex<IdSource>,
    pub(super) inbox: Arc<Inbox>,
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").finish_non_exhaustive()
    }
}

impl Dispatcher {
    pub(super) fn new(parts: &DispatcherParts, inbox: Arc<Inbox>) -> Self {
        Self {
            store: Arc::clone(&parts.store),
            fleet: Arc::clone(&parts.fleet),
            clock: Arc::clone(&parts.clock),
            nodes: parts.nodes.clone(),
            ids: Mutex::default(),
            inbox,
        }
    }

    /// Writes one command and hands it to the broker; returns then. Once
    /// asked, it goes its way even if the caller stops waiting.
    ///
    /// # Errors
    /// When it was refused: nothing was sent.
    pub async fn send(&self, request: SendRequest) -> Result<Sent, SendError> {
        let device = self.target(&request.device, request.socket)?;
        let key = match &request.key {
            Some((caller, key)) => Some(self.key(caller, key, fingerprint_of_command(&request))?),
            None => None,
        };
        if let Some(sent) = self.replay_command(key.as_ref()).await? {
            return Ok(sent);
        }
        let prepared = match &self.nodes {
            Some(nodes) => Some(self.prepare(nodes, &request, &device).await?),
            None => None,
        };
        let (reply, answer) = oneshot::channel();
        self.inbox.ask(Request::Send(Box::new(SendTicket {
            request,
            device,
            key: key.clone(),
            prepared,
            reply,
        })))?;
        match answer.await.map_err(|_| SendError::Stopping)? {
            Ok(command) => Ok(Sent {
                command,
                replayed: false,
            }),
            // Somebody may have asked the same at the same time, and have won.
            Err(NotMade::Refused(refusal)) => {
                self.replay_command(key.as_ref()).await?.ok_or(refusal)
            }
            Err(NotMade::Remembered(found)) => self.replayed(key.as_ref(), found).await,
            Err(NotMade::Failed(error)) => Err(SendError::Port(error)),
        }
    }

    /// Waits until a command is final; `None` where there is no such command,
    /// or the server stops first.
    ///
    /// # Errors
    /// When too much waits already.
    pub async fn wait(&self, id: CommandId) -> Result<Option<Arc<Command>>, SendError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.ask(Request::Wait(id, reply))?;
        Ok(answer.await.unwrap_or(None))
    }

    /// Answers everybody who [waits](Self::wait), now and later, with `None`:
    /// the server is about to stop, and they must not hold it up.
    pub fn let_go(&self) {
        // A full or closed inbox belongs to a server that ends their wait anyway.
        self.inbox.ask(Request::LetGo).ok();
    }

    /// Withdraws the wait for a command. Its message may arrive all the same.
    ///
    /// # Errors
    /// When there is no such command, or it could not be written.
    pub async fn cancel(&self, id: CommandId, by: Origin) -> Result<Cancelled, CancelError> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .ask(Request::Cancel(CancelTicket { id, by, reply }))?;
        answer.await.unwrap_or(Err(SendError::Stopping.into()))
    }

    /// Takes a device's verdict. Returns at once; repeats are harmless.
    /// `receipt` is resolved once what follows is written; it fails where the
    /// verdict cannot be taken in.
    pub fn on_ack(&self, ack: Ack, receipt: Option<Box<dyn Receipt>>) {
        self.inbox.tell(Evidence::Ack(AckTicket::new(ack, receipt)));
    }

    /// Takes a device's live report (not a retained or replayed one) of all
    /// its sockets. Returns at once.
    pub fn on_report(&self, device: DeviceKey, sockets: impl IntoIterator<Item = SocketReport>) {
        let sockets: SmallVec<_> = sockets.into_iter().collect();
        let at = self.clock.instant();
        self.inbox.tell(Evidence::Report {
            device,
            sockets,
            at,
        });
    }

    /// How many acks and reports found the inbox full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// One command.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn get(&self, id: CommandId) -> Result<Option<Command>, PortError> {
        Ok(self.store.get(&[id]).await?.pop())
    }

    /// A device's commands, newest first, from below `before` where that is
    /// given.
    ///
    /// # Errors
    /// When the device is unknown or the store failed.
    pub async fn of_device(
        &self,
        id: &DeviceId,
        before: Option<CommandId>,
        limit: u32,
    ) -> Result<Vec<Command>, SendError> {
        let device = self.known(id)?;
        Ok(self.store.of_device(device.key, before, limit).await?)
    }

    /// Takes on a batch; returns once it is written.
    ///
    /// # Errors
    /// When it was refused: nothing was or will be sent.
    pub async fn start_batch(&self, request: BatchRequest) -> Result<BatchStarted, SendError> {
        let key = match &request.key {
            Some((caller, key)) => Some(self.key(caller, key, fingerprint_of_batch(&request))?),
            None => None,
        };
        if let Some(found) = self.remembered(key.as_ref()).await? {
            return replayed_batch(key.as_ref(), found);
        }
        let now = self.clock.now();
        let batch = Arc::new(Batch {
            id: BatchId(uuid_v7(now)),
            order: request.order,
            on_pending: request.on_pending,
            send_offline: request.send_offline,
            node: self
                .nodes
                .as_ref()
                .map(|it| it.node.clone())
                .unwrap_or_default(),
            created_at: now,
            targets: self.targets(&request)?,
            origin: request.origin,
        });
        let id = batch.id;
        let (reply, answer) = oneshot::channel();
        self.inbox.ask(Request::Batch(BatchTicket {
            batch,
            key: key.clone(),
            reply,
        }))?;
        match answer.await.map_err(|_| SendError::Stopping)? {
            Ok(()) => Ok(BatchStarted {
                id,
                replayed: false,
            }),
            Err(NotMade::Refused(refusal)) => Err(refusal),
            Err(NotMade::Remembered(found)) => replayed_batch(key.as_ref(), found),
            Err(NotMade::Failed(error)) => Err(SendError::Port(error)),
        }
    }

    /// A batch and how it goes.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn batch(&self, id: BatchId) -> Result<Option<BatchReport>, PortError> {
        self.store.batch(id).await
    }

    /// Forgets final commands and batches older than `keep`, and keys that are
    /// not remembered any more; returns how many of all of them.
    ///
    /// # Errors
    /// When the store failed; what was forgotten until then stays forgotten.
    pub async fn forget_older_than(&self, keep: Duration) -> Result<usize, PortError> {
        let now = self.clock.now();
        let mut forgotten = 0;
        loop {
            let step = self
                .store
                .purge(now - keep, now - KEY_LIFE, PURGE_STEP)
                .await?;
            if step == 0 {
                return Ok(forgotten);
            }
            forgotten += step;
        }
    }

    fn known(&self, id: &DeviceId) -> Result<Arc<Device>, SendError> {
        self.fleet
            .device(id)
            .ok_or_else(|| SendError::UnknownDevice(id.clone()))
    }

    fn target(&self, id: &DeviceId, socket: SocketId) -> Result<Arc<Device>, SendError> {
        let device = self.known(id)?;
        if device.may_have(socket) {
            Ok(device)
        } else {
            Err(SendError::UnknownSocket {
                device: id.clone(),
                socket,
            })
        }
    }

    fn targets(&self, request: &BatchRequest) -> Result<Vec<Target>, SendError> {
        let mut targets = Vec::new();
        let target = |device: &Device, socket| Target {
            device: device.key,
            device_id: device.id.clone(),
            socket,
        };
        for (id, socket) in &request.targets {
            targets.push(target(&*self.target(id, *socket)?, *socket));
        }
        if let Some(location) = &request.location {
            let devices = self.fleet.at_location(location);
            targets.extend(devices.iter().map(|it| target(it, SocketId::STRIP)));
        }
        match targets.len() {
            0 => return Err(SendError::NoTargets),
            1..=BATCH_TARGETS_MAX => {}
            _ => return Err(SendError::TooManyTargets),
        }
        match first_met(&targets) {
            Some(twice) => Err(SendError::TargetTwice {
                device: twice.device_id.clone(),
                socket: twice.socket,
            }),
            None => Ok(targets),
        }
    }
}

/// The first target that an earlier one meets on its strip.
fn first_met(targets: &[Target]) -> Option<&Target> {
    let mut seen = std::collections::HashMap::new();
    targets.iter().find(|target| {
        let bit = 1_u64 << target.socket.get();
        let sockets: &mut u64 = seen.entry(target.device).or_default();
        let strip_met = *sockets & 1 != 0 || (bit == 1 && *sockets != 0);
        let met = strip_met || *sockets & bit != 0;
        *sockets |= bit;
        met
    })
}
