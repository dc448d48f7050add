//! Mosquitto 2: its configuration, password and ACL files, which are kept up
//! to date.

mod acl;
mod conf;
mod files;
mod passwords;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use dormouse_core::device::DeviceState;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::{DeviceAccess, StoredDevice};
use dormouse_core::secret::{DeviceDigest, Secret};

use super::{AccountName, ClientCertificates, Rendered, Rules, TlsListener};

pub use acl::{ForeignAcl, acl_file, update_acl};
pub use files::{FilesError, FilesSettings, FilesWorker, MosquittoFiles, Reload};
pub use passwords::PasswordFile;

/// What a Mosquitto is configured for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MosquittoSettings {
    /// Topics and accounts.
    pub rules: Rules,
    /// The listener for devices; `clients` is not `Optional`.
    pub tls: TlsListener,
    /// The listener without TLS.
    pub plain: SocketAddr,
    /// Where these files lie, as Mosquitto sees them.
    pub etc_dir: String,
    /// The folder for Mosquitto's own data.
    pub data_dir: String,
    /// Where Mosquitto writes its process id.
    pub pid_file: String,
}

/// The passwords of our accounts.
#[derive(Debug, Clone)]
pub struct MosquittoSecrets {
    /// The nodes' account.
    pub nodes: Secret,
    /// The account of `dormouse check`.
    pub check: Secret,
}

/// Who may sign in, and by which digest.
pub type Credentials = BTreeMap<DeviceId, DeviceDigest>;

/// The digest that a device may sign in by, if it may.
#[must_use]
pub fn digest_of(stored: &StoredDevice) -> Option<&DeviceDigest> {
    match (&stored.access, stored.device.state) {
        (
            DeviceAccess::Credentials(digest) | DeviceAccess::Joining(Some(digest)),
            DeviceState::Active,
        ) => Some(digest),
        (DeviceAccess::None | DeviceAccess::Joining(None), _)
        | (_, DeviceState::Pending | DeviceState::Rejected | DeviceState::Deleted) => None,
    }
}

/// Renders every file; `passwords` is the password file as it is now.
#[must_use]
pub fn render(
    settings: &MosquittoSettings,
    secrets: &MosquittoSecrets,
    devices: &Credentials,
    mut passwords: PasswordFile,
) -> Vec<Rendered> {
    let Rules { accounts, .. } = &settings.rules;
    passwords.set_account(&accounts.nodes, &secrets.nodes);
    passwords.set_account(&accounts.check, &secrets.check);
    vec![
        Rendered::open("mosquitto.conf", conf::mosquitto_conf(settings)),
        Rendered::secret("passwords", passwords.render(devices)),
        Rendered::open("acl", acl_of(settings, devices)),
        Rendered::open("dormouse.toml", dormouse(settings)),
    ]
}

/// With certificates the password file lets nobody in nor keeps anybody out:
/// then the ACL names who is ours.
fn acl_of(settings: &MosquittoSettings, devices: &Credentials) -> String {
    match settings.tls.clients {
        ClientCertificates::Off | ClientCertificates::Optional => acl_file(&settings.rules, None),
        ClientCertificates::Required => acl_file(&settings.rules, Some(devices)),
    }
}

/// What Dormouse must be told in turn.
fn dormouse(settings: &MosquittoSettings) -> String {
    let nodes: &AccountName = &settings.rules.accounts.nodes;
    let (plain, etc, pid) = (settings.plain, &settings.etc_dir, &settings.pid_file);
    format!(
        "\
# For Dormouse's own settings, beside the broker on one machine: put in the
# folder that holds the secrets.
[broker]
url = \"mqtt://{plain}\"
username = \"{nodes}\"
password_file = \"FOLDER/secrets/nodes\"

[mosquitto]
password_file = \"{etc}/passwords\"
acl_file = \"{etc}/acl\"
pid_file = \"{pid}\"
"
    )
}

#[cfg(test)]
mod tests;
