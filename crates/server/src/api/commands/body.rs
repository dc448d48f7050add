//! Commands as the API shows them.

use dormouse_core::command::{Command, Evidence, StateName};
use dormouse_core::event::Origin;
use dormouse_core::wire::{AckStatus, Action};
use serde::Serialize;
use utoipa::ToSchema;

/// One command and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Command)]
pub struct CommandBody {
    /// Which command.
    pub cmd_id: String,
    /// For whom.
    pub device_id: String,
    /// Which socket; 0 for the whole strip.
    pub socket_id: u8,
    /// What to do.
    pub action: Action,
    /// How long `cycle` stays off, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_ms: Option<u32>,
    /// How long to wait for the verdict, ms.
    pub timeout_ms: u32,
    /// Where it stands.
    pub state: StateName,
    /// How success is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Why it failed or was cancelled, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the device said once the command was final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_outcome: Option<AckStatus>,
    /// When it said that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_at: Option<String>,
    /// Who sent it.
    pub origin: Origin,
    /// The batch it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    /// When it was written.
    pub created_at: String,
    /// When it is given up.
    pub deadline_at: String,
    /// When it became final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<String>,
}

/// A command that was cancelled.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = CancelledCommand)]
pub(super) struct CancelledBody {
    /// The command.
    #[serde(flatten)]
    pub(super) command: CommandBody,
    /// What cancelling means.
    pub(super) note: &'static str,
}

impl From<&Command> for CommandBody {
    fn from(command: &Command) -> Self {
        let state = &command.progress.state;
        let late = command.progress.late;
        Self {
            cmd_id: command.id.to_string(),
            device_id: command.device_id.to_string(),
            socket_id: command.socket.get(),
            action: command.order.action,
            off_ms: command.order.off_ms,
            timeout_ms: command.order.timeout_ms,
            state: state.name(),
            evidence: state.evidence(),
            reason: state.reason(),
            late_outcome: late.map(|it| it.outcome),
            late_at: late.map(|it| it.at.to_rfc3339()),
            origin: command.origin.clone(),
            batch_id: command.batch.map(|it| it.batch.to_string()),
            created_at: command.created_at.to_rfc3339(),
            deadline_at: command.deadline_at.to_rfc3339(),
            settled_at: command.progress.settled_at.map(|at| at.to_rfc3339()),
        }
    }
}

impl From<&Command> for CancelledBody {
    fn from(command: &Command) -> Self {
        Self {
            command: CommandBody::from(command),
            note: "the wait was withdrawn, not the message: the device may still carry it out",
        }
    }
}
