//! Names of accounts at a broker that no device can have.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
const NAME_MAX: usize = 32;

/// The name of an account of ours at a broker.
///
/// An underscore and then letters, digits, `.`, `_` or `-`. No device id starts with an underscore, so no
/// device can ever pass for one of ours, nor the other way round.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

/// A text that cannot be the name of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account's name is '_' and 1 to 31 letters, digits, '.', '_' or '-', so that no device can have it"
)]
pub struct InvalidAccountName;

impl AccountName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = InvalidAccountName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix('_').ok_or(InvalidAccountName)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !rest.is_empty() && text.len() <= NAME_MAX && rest.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAccountName)
        }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use dormouse_core::ids::DeviceId;

    use super::*;

    #[test]
    fn no_account_is_a_device_and_none_breaks_a_file() {
        for good in ["_dormouse", "_check", "_a.b-c_1"] {
            let name: AccountName = good.parse().unwrap();
            assert!(DeviceId::parse(name.as_str()).is_err());
        }
        for bad in [
            "", "_", "dormouse", "_a:b", "_a b", "_+", "_#", "_a/b", "_a\n", "_é",
        ] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad}");
        }
        assert!(
            format!("_{}", "a".repeat(32))
                .parse::<AccountName>()
                .is_err()
        );
    }
}
