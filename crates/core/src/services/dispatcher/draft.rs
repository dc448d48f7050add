//! What a new command is made of, and whether it may be.

use std::sync::Arc;
use std::time::Duration;

use super::batches::Ready;
use super::plan::{Planned, Turn};
use super::request::SendError;
use super::turn::DispatchLoop;
use crate::clock::{Instant, Timestamp};
use crate::command::{BatchItem, Command, Order, Progress, Refusal};
use crate::device::Device;
use crate::event::Origin;
use crate::ids::{DeviceId, DeviceKey, SocketId};

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

    pub(super) fn plan_batches(&mut self, turn: &mut Turn) {
        let now = turn.instant;
        for Ready { batch, item } in self.batches.take_ready(now, &self.rates) {
            let Some(target) = batch.targets.get(item as usize) else {
                continue;
            };
            let place = BatchItem {
                batch: batch.id,
                item,
            };
            let admitted = match self.parts.fleet.device(&target.device_id) {
                Some(device) if device.key == target.device => {
                    self.admit(now, &device, batch.send_offline)
                }
                Some(_) | None => Err(SendError::UnknownDevice(target.device_id.clone())),
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
                    turn.planned.push(Planned::Send {
                        command: self.write_up(turn.now, draft),
                        on_pending: batch.on_pending,
                        key: None,
                        counted_at: now,
                        reply: None,
                    });
                }
                // An earlier item of this turn used up the device's second.
                Err(SendError::RateLimited { retry_after }) => {
                    self.batches.put_back(place, now + retry_after);
                }
                Err(SendError::DeviceOffline(_)) => {
                    let refusal = Planned::RefuseItem(place, Refusal::Offline);
                    turn.planned.push(refusal);
                }
                Err(_) => turn.planned.push(Planned::RefuseItem(place, Refusal::Gone)),
            }
        }
    }

    pub(super) fn write_up(&mut self, now: Timestamp, draft: Draft) -> Arc<Command> {
        let timeout = Duration::from_millis(u64::from(draft.order.timeout_ms));
        Arc::new(Command {
            id: self.ids.next(now),
            device: draft.device,
            device_id: draft.device_id,
            socket: draft.socket,
            order: draft.order,
            origin: draft.origin,
            batch: draft.batch,
            created_at: now,
            deadline_at: now + timeout,
            progress: Progress::default(),
        })
    }
}
