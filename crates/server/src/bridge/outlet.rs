//! Who hears of commands.

use std::sync::Arc;

use dormouse_core::access::Actor;
use dormouse_core::command::{Batch, Command};
use dormouse_core::event::{Event, Origin};
use dormouse_core::live::{CommandMessage, LiveHub, LiveMessage};
use dormouse_core::services::audit::AuditLog;
use dormouse_core::services::dispatcher::{Change, Outlet};
use dormouse_core::services::events::EventLog;
use serde_json::json;

/// Tells watchers, the log and the audit log of commands.
#[derive(Debug, Clone)]
pub struct CommandOutlet {
    /// Tells watchers.
    pub live: Arc<LiveHub>,
    /// Keeps foreign and orphan acks.
    pub events: Arc<EventLog>,
    /// Keeps who sent what.
    pub audit: Arc<AuditLog>,
}

impl Outlet for CommandOutlet {
    fn command(&self, command: &Arc<Command>, change: Change<'_>) {
        let target = || format!("device:{}", command.device_id);
        let data = || {
            json!({
                "cmdId": command.id,
                "socketId": command.socket,
                "action": command.order.action,
            })
        };
        match change {
            Change::Sent => {
                self.audit
                    .record(actor(&command.origin), "command.send", target(), data());
            }
            Change::Cancelled(by) => {
                self.audit
                    .record(actor(by), "command.cancel", target(), data());
            }
            Change::Settled | Change::Late => {}
            // The node that settled it has told everybody's watchers.
            Change::Elsewhere => return,
        }
        if self.live.wants_commands(&command.device_id) {
            let message = CommandMessage::from(&**command);
            self.live.publish(&LiveMessage::Command(message));
        }
    }

    fn batch(&self, batch: &Arc<Batch>) {
        let data = json!({"batchId": batch.id, "targets": batch.targets.len()});
        self.audit.record(
            actor(&batch.origin),
            "batch.send",
            format!("batch:{}", batch.id),
            data,
        );
    }

    fn event(&self, event: Event) {
        self.events.record(event);
    }
}

/// The address that a command came from is in the request's own log line.
fn actor(origin: &Origin) -> Actor {
    Actor {
        origin: origin.clone(),
        address: None,
    }
}
