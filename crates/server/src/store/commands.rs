//! How commands are written in every database alike.

use dormouse_core::command::{Cancellation, Evidence, Failure, OnPending, State};
use dormouse_core::ids::CommandId;
use dormouse_core::wire::{AckStatus, Action};
use uuid::Uuid;

pub(super) const fn action_name(action: Action) -> &'static str {
    match action {
        Action::On => "on",
        Action::Off => "off",
        Action::Cycle => "cycle",
    }
}

pub(super) fn action(name: &str) -> Option<Action> {
    Some(match name {
        "on" => Action::On,
        "off" => Action::Off,
        "cycle" => Action::Cycle,
        _ => return None,
    })
}

pub(super) const fn on_pending_name(on_pending: OnPending) -> &'static str {
    match on_pending {
        OnPending::Refuse => "refuse",
        OnPending::Replace => "replace",
    }
}

pub(super) fn on_pending(name: &str) -> Option<OnPending> {
    Some(match name {
        "refuse" => OnPending::Refuse,
        "replace" => OnPending::Replace,
        _ => return None,
    })
}

/// A [`State`] in four columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateColumns<'a> {
    pub(super) state: &'a str,
    pub(super) how: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) replaced_by: Option<Uuid>,
}

impl<'a> From<&'a State> for StateColumns<'a> {
    fn from(from: &'a State) -> Self {
        let (state, how, reason, replaced_by) = match from {
            State::Pending => ("pending", None, None, None),
            State::Success(Evidence::Acked) => ("success", Some("acked"), None, None),
            State::Success(Evidence::Inferred) => ("success", Some("inferred"), None, None),
            State::Failed(Failure::Refused(why)) => {
                ("failed", Some("refused"), why.as_deref(), None)
            }
            State::Failed(Failure::NotSent(why)) => {
                ("failed", Some("not-sent"), Some(&**why), None)
            }
            State::Timeout => ("timeout", None, None, None),
            State::Cancelled(Cancellation::Asked) => ("cancelled", Some("asked"), None, None),
            State::Cancelled(Cancellation::Replaced(by)) => {
                ("cancelled", Some("replaced"), None, Some(by.0))
            }
        };
        Self {
            state,
            how,
            reason,
            replaced_by,
        }
    }
}

impl StateColumns<'_> {
    /// Reads the columns back.
    pub(super) fn read(self) -> Option<State> {
        let reason = self.reason.map(str::to_owned);
        Some(match (self.state, self.how) {
            ("pending", _) => State::Pending,
            ("success", Some("acked")) => State::Success(Evidence::Acked),
            ("success", Some("inferred")) => State::Success(Evidence::Inferred),
            ("failed", Some("refused")) => State::Failed(Failure::Refused(reason)),
            ("failed", Some("not-sent")) => {
                State::Failed(Failure::NotSent(reason.unwrap_or_default()))
            }
            ("timeout", _) => State::Timeout,
            ("cancelled", Some("asked")) => State::Cancelled(Cancellation::Asked),
            ("cancelled", Some("replaced")) => {
                State::Cancelled(Cancellation::Replaced(CommandId(self.replaced_by?)))
            }
            _ => return None,
        })
    }
}

pub(super) const fn outcome_name(outcome: AckStatus) -> &'static str {
    match outcome {
        AckStatus::Success => "success",
        AckStatus::Failed => "failed",
    }
}

pub(super) fn outcome(name: &str) -> Option<AckStatus> {
    Some(match name {
        "success" => AckStatus::Success,
        "failed" => AckStatus::Failed,
        _ => return None,
    })
}
