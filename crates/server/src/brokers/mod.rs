//! External brokers made ours: configurations rendered for a site, and how
//! they are told of devices that may no longer come in.

mod account;
pub mod emqx;
pub mod mosquitto;
mod rendered;

pub use account::{AccountName, InvalidAccountName};
pub use rendered::Rendered;

use dormouse_core::topic::Topics;

/// The accounts of ours at a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// That of the nodes.
    pub nodes: AccountName,
    /// That of `dormouse check`.
    pub check: AccountName,
}

/// Who talks about what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The topic grammar.
    pub topics: Topics,
    /// Who else there is beside devices.
    pub accounts: Accounts,
}

/// What a client certificate is worth on the TLS listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ClientCertificates {
    /// None is asked for.
    Off,
    /// One is checked where it is shown.
    Optional,
    /// Nobody comes in without one.
    Required,
}

/// The TLS listener that devices come in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsListener {
    /// Where it listens, such as `0.0.0.0:8883`.
    pub bind: std::net::SocketAddr,
    /// The certificate chain's file, as the broker sees it.
    pub certificate: String,
    /// The key's file, as the broker sees it.
    pub key: String,
    /// The file of the authority of client certificates, as the broker sees it.
    pub client_ca: String,
    /// What a client certificate is worth.
    pub clients: ClientCertificates,
}

#[cfg(test)]
mod sample;
