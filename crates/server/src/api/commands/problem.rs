//! What can go wrong with commands, as the client sees it.

use std::time::Duration;

use axum::http::StatusCode;
use dormouse_core::command::{Command, InvalidOrder};
use dormouse_core::ids::CommandId;
use dormouse_core::ports::PortError;
use dormouse_core::services::dispatcher::{CancelError, SendError};
use serde_json::{Value, json};

use super::body::CommandBody;
use crate::api::Problem;

pub(super) fn unknown_command(id: CommandId) -> Problem {
    Problem::not_found(format!("there is no command {id}"))
}

pub(super) fn already_final(command: &Command) -> Problem {
    Problem::client(
        StatusCode::CONFLICT,
        "/problems/command-final",
        "Command is final",
        "a command that is final cannot be cancelled",
    )
    .with("command", shown(command))
}

impl From<InvalidOrder> for Problem {
    fn from(error: InvalidOrder) -> Self {
        Self::invalid(format!("/{}", error.field()), error.to_string())
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::Unknown(id) => unknown_command(id),
            CancelError::Refused(error) => error.into(),
        }
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        let detail = error.to_string();
        match error {
            SendError::UnknownDevice(_) | SendError::UnknownSocket { .. } => {
                Self::not_found(detail)
            }
            SendError::DeviceOffline(_) => Self::client(
                StatusCode::CONFLICT,
                "/problems/device-offline",
                "Device offline",
                format!("{detail}; 'sendOffline: true' sends it all the same"),
            ),
            SendError::Pending(commands) => pending(&commands, &detail),
            SendError::RateLimited { retry_after } => Self::client(
                StatusCode::TOO_MANY_REQUESTS,
                "/problems/too-many-commands",
                "Too many commands",
                detail,
            )
            .retry_after(whole_seconds(retry_after)),
            SendError::InvalidKey => Self::invalid("Idempotency-Key", detail),
            SendError::KeyReused => Self::client(
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/idempotency-key-reused",
                "Idempotency key reused",
                detail,
            )
            .field("Idempotency-Key", "one key, one request"),
            SendError::NoTargets | SendError::TooManyTargets | SendError::TargetTwice { .. } => {
                Self::invalid("/targets", detail)
            }
            SendError::Overloaded => {
                busy("/problems/overloaded", "Overloaded", &detail).retry_after(1)
            }
            SendError::Stopping => busy("/problems/stopping", "Stopping", &detail).retry_after(5),
            SendError::HotState(_) => busy(
                "/problems/hot-state-unavailable",
                "Hot state unavailable",
                &detail,
            )
            .retry_after(1),
            SendError::Port(error) => match &*error {
                PortError::Unavailable(_) => Self::unavailable(&*error),
                PortError::Corrupt(_) | PortError::Refused(_) => Self::server(&*error),
            },
        }
    }
}

fn pending(commands: &[Command], detail: &str) -> Problem {
    let all: Vec<Value> = commands.iter().map(shown).collect();
    Problem::client(
        StatusCode::CONFLICT,
        "/problems/command-pending",
        "Command pending",
        format!("{detail}; 'onPending: \"replace\"' takes its place"),
    )
    .with("command", all.first().cloned().unwrap_or(Value::Null))
    .with("pending", Value::Array(all))
}

fn busy(kind: &'static str, title: &'static str, detail: &str) -> Problem {
    Problem::client(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail)
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn shown(command: &Command) -> Value {
    json!(CommandBody::from(command))
}
