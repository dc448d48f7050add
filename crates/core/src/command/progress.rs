//! How far a command got: a pure, total state machine.
//!
//! ```text
//! pending ──ack or change──▶ success | failed
//!    ├──deadline───────────▶ timeout       (an ack after that is late:
//!    └──cancel, replace────▶ cancelled      recorded, never obeyed)
//! ```

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::CommandId;
use crate::wire::AckStatus;

/// Where a command stands; all but `Pending` are final.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Written; waits for its verdict.
    #[default]
    Pending,
    /// Carried out.
    Success(Evidence),
    /// Not carried out.
    Failed(Failure),
    /// No verdict came in time.
    Timeout,
    /// Nobody waits for it any more; the message itself may have arrived.
    Cancelled(Cancellation),
}

/// A [`State`] without its details, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum StateName {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// The device said so, naming the command.
    Acked,
    /// The device's report shows the wanted state.
    Inferred,
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The device said so, perhaps with a reason.
    Refused(Option<String>),
    /// It could not be handed to the broker.
    NotSent(String),
}

/// Why nobody waits for a command any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// Somebody asked for it.
    Asked,
    /// This command took its place.
    Replaced(CommandId),
}

/// A verdict that came after the command was final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// What the device said.
    pub outcome: AckStatus,
    /// When.
    pub at: Timestamp,
}

/// A command's state and when it was reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// When it was handed to the broker, if it was.
    pub published_at: Option<Timestamp>,
    /// When it became final.
    pub settled_at: Option<Timestamp>,
    /// The verdict that came too late, if one did.
    pub late: Option<Late>,
}

/// What can happen to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// It is being handed to the broker.
    Published,
    /// The broker did not take it.
    NotSent(String),
    /// The device answered.
    Acked(AckStatus, Option<String>),
    /// The device's report shows the wanted state (see [`super::shows_success`]).
    Observed,
    /// Its time is up.
    DeadlinePassed,
    /// Nobody waits for it any more.
    Cancelled(Cancellation),
}

/// What an [`Input`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The command became final.
    Settled,
    /// Something was recorded; the state is what it was.
    Noted,
    /// Nothing changed.
    Ignored,
}

impl Progress {
    /// Applies `input` at `now`. Total: every state meets every input.
    pub fn apply(&mut self, input: Input, now: Timestamp) -> Step {
        match &self.state {
            State::Pending => self.apply_to_pending(input, now),
            // The device's own word was its verdict: this one is a repeat.
            State::Success(Evidence::Acked) | State::Failed(Failure::Refused(_)) => Step::Ignored,
            State::Success(Evidence::Inferred)
            | State::Failed(Failure::NotSent(_))
            | State::Timeout
            | State::Cancelled(_) => self.apply_to_unanswered(&input, now),
        }
    }

    fn apply_to_pending(&mut self, input: Input, now: Timestamp) -> Step {
        self.state = match input {
            Input::Published if self.published_at.is_some() => return Step::Ignored,
            Input::Published => {
                self.published_at = Some(now);
                return Step::Noted;
            }
            Input::NotSent(why) => State::Failed(Failure::NotSent(why)),
            Input::Acked(AckStatus::Success, _) => State::Success(Evidence::Acked),
            Input::Acked(AckStatus::Failed, reason) => State::Failed(Failure::Refused(reason)),
            Input::Observed => State::Success(Evidence::Inferred),
            Input::DeadlinePassed => State::Timeout,
            Input::Cancelled(why) => State::Cancelled(why),
        };
        self.settled_at = Some(now);
        Step::Settled
    }

    fn apply_to_unanswered(&mut self, input: &Input, now: Timestamp) -> Step {
        match input {
            Input::Acked(outcome, _) if self.late.is_none() => {
                self.late = Some(Late {
                    outcome: *outcome,
                    at: now,
                });
                Step::Noted
            }
            Input::Acked(..)
            | Input::Published
            | Input::NotSent(_)
            | Input::Observed
            | Input::DeadlinePassed
            | Input::Cancelled(_) => Step::Ignored,
        }
    }
}

impl State {
    /// The state without its details.
    #[must_use]
    pub const fn name(&self) -> StateName {
        match self {
            Self::Pending => StateName::Pending,
            Self::Success(_) => StateName::Success,
            Self::Failed(_) => StateName::Failed,
            Self::Timeout => StateName::Timeout,
            Self::Cancelled(_) => StateName::Cancelled,
        }
    }

    /// How success is known; `None` in the other states.
    #[must_use]
    pub const fn evidence(&self) -> Option<Evidence> {
        match self {
            Self::Success(evidence) => Some(*evidence),
            Self::Pending | Self::Failed(_) | Self::Timeout | Self::Cancelled(_) => None,
        }
    }

    /// Why it came to this, for people.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Failed(Failure::Refused(reason)) => reason.clone(),
            Self::Failed(Failure::NotSent(why)) => Some(format!("not sent: {why}")),
            Self::Cancelled(Cancellation::Replaced(by)) => Some(format!("replaced by {by}")),
            Self::Pending
            | Self::Success(_)
            | Self::Timeout
            | Self::Cancelled(Cancellation::Asked) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(2_000);

    fn by() -> CommandId {
        CommandId(uuid::Uuid::nil())
    }

    fn inputs() -> Vec<Input> {
        vec![
            Input::Published,
            Input::NotSent("no broker".into()),
            Input::Acked(AckStatus::Success, None),
            Input::Acked(AckStatus::Failed, Some("stuck".into())),
            Input::Observed,
            Input::DeadlinePassed,
            Input::Cancelled(Cancellation::Asked),
            Input::Cancelled(Cancellation::Replaced(by())),
        ]
    }

    fn pending() -> Progress {
        Progress {
            published_at: Some(Timestamp::from_millis(1_000)),
            ..Progress::default()
        }
    }

    fn settled_by(input: Input) -> Progress {
        let mut progress = pending();
        assert_eq!(progress.apply(input, NOW), Step::Settled);
        progress
    }

    #[test]
    fn a_pending_command_takes_the_first_verdict() {
        let verdicts: Vec<State> = inputs()
            .into_iter()
            .filter(|input| *input != Input::Published)
            .map(|input| settled_by(input).state)
            .collect();
        assert_eq!(
            verdicts,
            [
                State::Failed(Failure::NotSent("no broker".into())),
                State::Success(Evidence::Acked),
                State::Failed(Failure::Refused(Some("stuck".into()))),
                State::Success(Evidence::Inferred),
                State::Timeout,
                State::Cancelled(Cancellation::Asked),
                State::Cancelled(Cancellation::Replaced(by())),
            ]
        );
        assert_eq!(settled_by(Input::Observed).settled_at, Some(NOW));
    }

    #[test]
    fn publishing_is_noted_once_and_leaves_the_command_pending() {
        let mut progress = Progress::default();
        assert_eq!(progress.apply(Input::Published, NOW), Step::Noted);
        let later = Timestamp::from_millis(9_000);
        assert_eq!(progress.apply(Input::Published, later), Step::Ignored);
        assert_eq!(progress.published_at, Some(NOW));
        assert_eq!(progress.state, State::Pending);
    }

    #[test]
    fn a_final_state_never_changes_and_only_a_late_ack_is_recorded() {
        for first in inputs() {
            let mut progress = pending();
            if progress.apply(first, NOW) != Step::Settled {
                continue;
            }
            let answered = matches!(
                progress.state,
                State::Success(Evidence::Acked) | State::Failed(Failure::Refused(_))
            );
            for input in inputs() {
                let mut after = progress.clone();
                let at = Timestamp::from_millis(5_000);
                let mut expected = (Step::Ignored, None);
                if let Input::Acked(outcome, _) = input
                    && !answered
                {
                    expected = (Step::Noted, Some(Late { outcome, at }));
                }
                assert_eq!((after.apply(input, at), after.late), expected);
                assert_eq!(after.state, progress.state);
                assert_eq!(after.settled_at, progress.settled_at);
            }
        }
    }

    #[test]
    fn the_first_late_ack_is_the_one_kept() {
        let mut progress = settled_by(Input::DeadlinePassed);
        progress.apply(Input::Acked(AckStatus::Failed, None), NOW);
        let again = Input::Acked(AckStatus::Success, None);
        assert_eq!(progress.apply(again, NOW), Step::Ignored);
        assert_eq!(progress.late.unwrap().outcome, AckStatus::Failed);
    }

    #[test]
    fn reasons_are_told_in_words() {
        let replaced = settled_by(Input::Cancelled(Cancellation::Replaced(by())));
        let reason = replaced.state.reason().unwrap();
        assert_eq!(reason, format!("replaced by {}", by()));
        let not_sent = settled_by(Input::NotSent("no broker".into()));
        assert_eq!(not_sent.state.reason().unwrap(), "not sent: no broker");
        assert_eq!(settled_by(Input::DeadlinePassed).state.reason(), None);
    }
}
