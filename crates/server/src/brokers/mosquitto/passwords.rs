//! Mosquitto's password file in its `$6$` form, which is our own digest.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dormouse_core::ids::DeviceId;
use dormouse_core::secret::{DeviceDigest, SALT_LEN, Secret};

use super::Credentials;
use crate::brokers::AccountName;

/// What a password file holds beside devices: accounts of ours and of others,
/// which are kept as they are.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PasswordFile {
    accounts: BTreeMap<String, String>,
}

impl PasswordFile {
    /// Reads a file; lines of devices are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let accounts = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| DeviceId::parse(name).is_err())
            .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
            .collect();
        Self { accounts }
    }

    /// Gives an account its password; a line that fits it stays as it is.
    pub fn set_account(&mut self, name: &AccountName, password: &Secret) {
        let fits = self
            .accounts
            .get(name.as_str())
            .and_then(|digest| parse_digest(digest))
            .is_some_and(|digest| digest.matches(password.expose().as_bytes()));
        if !fits {
            let digest = format_digest(&DeviceDigest::of(password));
            self.accounts.insert(name.as_str().to_owned(), digest);
        }
    }

    /// The file with `devices` in it.
    #[must_use]
    pub fn render(&self, devices: &Credentials) -> String {
        let accounts = self
            .accounts
            .iter()
            .map(|(name, digest)| format!("{name}:{digest}\n"));
        let devices = devices
            .iter()
            .map(|(id, digest)| format!("{id}:{}\n", format_digest(digest)));
        accounts.chain(devices).collect()
    }
}

impl fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.accounts.keys()).finish()
    }
}

fn format_digest(digest: &DeviceDigest) -> String {
    let (salt, hash) = (
        STANDARD.encode(digest.salt()),
        STANDARD.encode(digest.hash()),
    );
    format!("$6${salt}${hash}")
}

fn parse_digest(text: &str) -> Option<DeviceDigest> {
    let (salt, hash) = text.strip_prefix("$6$")?.split_once('$')?;
    let salt: [u8; SALT_LEN] = STANDARD.decode(salt).ok()?.try_into().ok()?;
    let hash: [u8; 64] = STANDARD.decode(hash).ok()?.try_into().ok()?;
    Some(DeviceDigest::from_parts(salt, hash))
}
