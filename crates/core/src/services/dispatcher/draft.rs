//! What a new command is made of, and whether it may be.

use std::sync::Arc;
use std::time::Duration;

use super::batches::Ready;
use super::inbox::Prepared;
use super::plan::{Planned, Turn};
use super::request::SendError;
use super::shared::CommandNodes;
use super::turn::DispatchLoop;
use crate::clock::{Instant, Timestamp};
use crate::command::{Batch, BatchItem, Command, Order, Progress, Refusal};
use crate::device::Device;
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey, SocketId};
use crate::ports::PortError;

/// How long items of batches wait where nobody can tell whether they may go.
const HOT_STATE_PAUSE: Duration = Duration::from_secs(1);

/// What a new command is made of.
pub(super) struct Draft {
    pub(super) device: DeviceKey,
    pub(super) device_id: DeviceId,
    pub(super) socket: SocketId,
    pub(super) order: Order,
    pub(super) origin: Origin,
    pub(super) batch: Option<BatchItem>,
}

impl DispatchLoop {
    /// The rate limit, then the offline rule; counts what passes.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        device: &Device,
        send_offline: bool,
    ) -> Result<(), SendError> {
        let free_at = self.rates.free_at(device.key, now);
        if free_at > now {
            let retry_after = free_at.since(now);
            return Err(SendError::RateLimited { retry_after });
        }
        if !send_offline && !self.parts.fleet.is_online(device.key) {
            return Err(SendError::DeviceOffline(device.id.clone()));
        }
        self.rates
            .take(device.key, now)
            .map_err(|retry_after| SendError::RateLimited { retry_after })
    }

    pub(super) async fn plan_batches(&mut self, turn: &mut Turn) {
        let mut drafts = Vec::new();
        for ready in self.batches.take_ready(turn.instant, &self.rates) {
            self.judge_item(turn, ready, &mut drafts);
        }
        let Some(nodes) = self.parts.nodes.clone() else {
            for (batch, draft) in drafts {
                self.plan_item(turn, &batch, draft);
            }
            return;
        };
        let planned_before = turn.planned.len();
        if let Err(error) = self.plan_items(turn, &nodes, drafts).await {
            let again = turn.instant + HOT_STATE_PAUSE;
            let error = Arc::new(error);
            for planned in turn.planned.split_off(planned_before) {
                self.take_back(planned, &error, again);
            }
        }
    }

    /// Refuses an item, lets it wait, or drafts its command.
    fn judge_item(&mut self, turn: &mut Turn, ready: Ready, drafts: &mut Vec<(Arc<Batch>, Draft)>) {
        let Ready { batch, item } = ready;
        let Some(target) = batch.targets.get(item as usize) else {
            return;
        };
        let place = BatchItem {
            batch: batch.id,
            item,
        };
        let device = self.parts.fleet.device(&target.device_id);
        let admitted = match device.filter(|it| it.key == target.device) {
            Some(device) if self.parts.nodes.is_none() => {
                self.admit(turn.instant, &device, batch.send_offline)
            }
            Some(device) if batch.send_offline || self.parts.fleet.is_online(device.key) => Ok(()),
            Some(device) => Err(SendError::DeviceOffline(device.id.clone())),
            None => Err(SendError::UnknownDevice(target.device_id.clone())),
        };
        match admitted {
            Ok(()) => {
                let draft = Draft {
                    device: target.device,
                    device_id: target.device_id.clone(),
                    socket: target.socket,
                    order: batch.order,
                    origin: batch.origin.clone(),
                    batch: Some(place),
                };
                drafts.push((batch, draft));
            }
            // An earlier item of this turn used up the device's second.
            Err(SendError::RateLimited { retry_after }) => {
                self.batches.put_back(place, turn.instant + retry_after);
            }
            Err(SendError::DeviceOffline(_)) => {
                let refusal = Planned::RefuseItem(place, Refusal::Offline);
                turn.planned.push(refusal);
            }
            Err(_) => turn.planned.push(Planned::RefuseItem(place, Refusal::Gone)),
        }
    }

    fn plan_item(&mut self, turn: &mut Turn, batch: &Batch, draft: Draft) {
        turn.planned.push(Planned::Send {
            command: self.write_up(turn.now, draft, None),
            on_pending: batch.on_pending,
            key: None,
            counted_at: turn.instant,
            reply: None,
        });
    }

    /// Plans the items that the rate has room for among several nodes.
    async fn plan_items(
        &mut self,
        turn: &mut Turn,
        nodes: &CommandNodes,
        drafts: Vec<(Arc<Batch>, Draft)>,
    ) -> Result<(), PortError> {
        let devices: Vec<DeviceKey> = drafts.iter().map(|(_, draft)| draft.device).collect();
        let mut admitted = self.admit_all(nodes, &devices).await.map(Vec::into_iter);
        let mut commands = Vec::new();
        for (batch, draft) in drafts {
            let room = match &mut admitted {
                Ok(answers) => answers.next().unwrap_or(Err(HOT_STATE_PAUSE)),
                Err(_) => Err(HOT_STATE_PAUSE),
            };
            match (room, draft.batch) {
                (Ok(()), _) => {
                    self.plan_item(turn, &batch, draft);
                    if let Some(Planned::Send { command, .. }) = turn.planned.last() {
                        commands.push(Arc::clone(command));
                    }
                }
                (Err(wait), Some(place)) => self.batches.put_back(place, turn.instant + wait),
                (Err(_), None) => {}
            }
        }
        self.arm_all(nodes, &commands).await
    }

    /// Makes the command; with `prepared` as every node knows it already.
    pub(super) fn write_up(
        &mut self,
        now: Timestamp,
        draft: Draft,
        prepared: Option<Prepared>,
    ) -> Arc<Command> {
        let timeout = Duration::from_millis(u64::from(draft.order.timeout_ms));
        let Prepared { id, at } = prepared.unwrap_or_else(|| Prepared {
            id: self.ids.next(now),
            at: now,
        });
        Arc::new(Command {
            id,
            device: draft.device,
            device_id: draft.device_id,
            socket: draft.socket,
            order: draft.order,
            origin: draft.origin,
            batch: draft.batch,
            created_at: at,
            deadline_at: at + timeout,
            progress: Progress::default(),
        })
    }
}
