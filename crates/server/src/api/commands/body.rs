//! Commands as the API shows them.

use dormouse_core::command::{Command, Evidence, OnPending, StateName};
use dormouse_core::event::Origin;
use dormouse_core::wire::{AckStatus, Action};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Action)]
pub enum ActionName {
    /// Close the relay.
    On,
    /// Open the relay.
    Off,
    /// Open the relay, wait, close it again.
    Cycle,
}

/// What happens to a command that is pending where another one is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = OnPending)]
pub(super) enum OnPendingName {
    /// It stays, and the new one is refused.
    #[default]
    Refuse,
    /// It is cancelled, and the new one takes its place.
    Replace,
}

/// Where a command stands; all but `pending` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// Waits for its verdict.
    Pending,
    /// Carried out.
    Success,
    /// Not carried out.
    Failed,
    /// No verdict came in time.
    Timeout,
    /// Nobody waits for it any more.
    Cancelled,
}

/// How it is known that a command was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandEvidence {
    /// The device said so, naming the command.
    Acked,
    /// The device's status shows the wanted state.
    Inferred,
}

/// What a device said of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It did what it was told.
    Success,
    /// It did not.
    Failed,
}

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
    pub action: ActionName,
    /// How long `cycle` stays off, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_ms: Option<u32>,
    /// How long to wait for the verdict, ms.
    pub timeout_ms: u32,
    /// Where it stands.
    pub state: CommandState,
    /// How success is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<CommandEvidence>,
    /// Why it failed or was cancelled, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the device said once the command was final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_outcome: Option<Outcome>,
    /// When it said that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_at: Option<String>,
    /// Who sent it.
    #[schema(value_type = Object)]
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
            action: command.order.action.into(),
            off_ms: command.order.off_ms,
            timeout_ms: command.order.timeout_ms,
            state: state.name().into(),
            evidence: state.evidence().map(Into::into),
            reason: state.reason(),
            late_outcome: late.map(|it| it.outcome.into()),
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

impl From<ActionName> for Action {
    fn from(name: ActionName) -> Self {
        match name {
            ActionName::On => Self::On,
            ActionName::Off => Self::Off,
            ActionName::Cycle => Self::Cycle,
        }
    }
}

impl From<Action> for ActionName {
    fn from(action: Action) -> Self {
        match action {
            Action::On => Self::On,
            Action::Off => Self::Off,
            Action::Cycle => Self::Cycle,
        }
    }
}

impl From<OnPendingName> for OnPending {
    fn from(name: OnPendingName) -> Self {
        match name {
            OnPendingName::Refuse => Self::Refuse,
            OnPendingName::Replace => Self::Replace,
        }
    }
}

impl From<StateName> for CommandState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Pending => Self::Pending,
            StateName::Success => Self::Success,
            StateName::Failed => Self::Failed,
            StateName::Timeout => Self::Timeout,
            StateName::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Evidence> for CommandEvidence {
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::Acked => Self::Acked,
            Evidence::Inferred => Self::Inferred,
        }
    }
}

impl From<AckStatus> for Outcome {
    fn from(status: AckStatus) -> Self {
        match status {
            AckStatus::Success => Self::Success,
            AckStatus::Failed => Self::Failed,
        }
    }
}
