//! What can go wrong with people.

use crate::device::BrokenRule;
use crate::ports::PortError;

/// Why a request about people was refused; nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The name or the password is wrong.
    #[error("wrong name or password")]
    BadCredentials,
    /// Too many failures from this address or for this name.
    #[error("too many attempts; try again in {retry_after_s} s")]
    TooManyAttempts {
        /// Seconds until the next attempt is heard.
        retry_after_s: u64,
    },
    /// The one-time link is wrong or used up.
    #[error("this link is wrong or was used already")]
    BadSetupLink,
    /// There is already somebody who can sign in.
    #[error("the administrator exists already")]
    SetupDone,
    /// There is no such person or token.
    #[error("no {0}")]
    Unknown(String),
    /// The name is taken.
    #[error("there is already a person '{0}'")]
    Taken(String),
    /// A field broke a rule.
    #[error("{0}")]
    Invalid(BrokenRule),
    /// The person changed meanwhile.
    #[error("the person changed meanwhile; read it again")]
    Stale,
    /// Nobody could administer the site any more.
    #[error("the last administrator cannot be removed or made less")]
    LastAdmin,
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl AccessError {
    /// A field that broke a rule.
    pub(super) const fn invalid(field: &'static str, rule: &'static str) -> Self {
        Self::Invalid(BrokenRule { field, rule })
    }
}
