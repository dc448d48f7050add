//! Mosquitto's ACL file: who may publish and subscribe what.

use dormouse_core::ids::DeviceId;
use dormouse_core::topic::Topics;

use super::Credentials;
use crate::brokers::Rules;

const REPORTS: [&str; 4] = ["status", "telemetry", "ack", "event"];
const ORDERS: [&str; 2] = ["cmd", "enrol"];

/// Behind it are the devices.
const DEVICES: &str = "# A device: its own topics, each by name.\n";

/// A text that is not an ACL file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("was not written by `dormouse broker mosquitto render`: render it anew")]
pub struct ForeignAcl;

/// Brings an ACL file up to date; one with patterns stays as it is.
///
/// # Errors
/// When `text` is not a file of ours.
pub fn update_acl(
    text: &str,
    topics: &Topics,
    devices: &Credentials,
) -> Result<String, ForeignAcl> {
    let (head, tail) = text.split_once(DEVICES).ok_or(ForeignAcl)?;
    if tail.starts_with("pattern ") {
        return Ok(text.to_owned());
    }
    let devices = by_name(topics.root(), devices);
    Ok(format!("{head}{DEVICES}{devices}"))
}

/// Renders the file. By a pattern everybody who got in has the topics of their
/// own name; with `devices` those alone have them, each by name. What is not
/// allowed is denied.
#[must_use]
pub fn acl_file(rules: &Rules, devices: Option<&Credentials>) -> String {
    let root = rules.topics.root();
    let (nodes, check) = (&rules.accounts.nodes, &rules.accounts.check);
    let reports = |verb, who: &str| lines(verb, root, who, &REPORTS);
    let orders = |verb, who: &str| lines(verb, root, who, &ORDERS);
    let of_devices = match devices {
        None => reports("pattern write", "%u") + &orders("pattern read", "%u"),
        Some(devices) => by_name(root, devices),
    };
    format!(
        "\
# Written by Dormouse; edits are lost.

# Dormouse's nodes.
user {nodes}
{}{}
# `dormouse check` only listens, and never for credentials.
user {check}
{}topic read {root}/+/cmd

{DEVICES}{of_devices}",
        orders("topic write", "+"),
        reports("topic read", "+"),
        reports("topic read", "+"),
    )
}

fn by_name(root: &str, devices: &Credentials) -> String {
    let one = |id: &DeviceId| {
        let id = id.as_str();
        let own = lines("topic write", root, id, &REPORTS);
        let heard = lines("topic read", root, id, &ORDERS);
        format!("user {id}\n{own}{heard}")
    };
    devices.keys().map(one).collect()
}

fn lines(verb: &str, root: &str, who: &str, channels: &[&str]) -> String {
    channels
        .iter()
        .map(|it| format!("{verb} {root}/{who}/{it}\n"))
        .collect()
}
