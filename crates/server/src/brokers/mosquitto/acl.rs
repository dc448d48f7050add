//! Mosquitto's ACL file: who may publish and subscribe what.

use std::fmt;

use super::Credentials;
use crate::brokers::Rules;

const REPORTS: [&str; 4] = ["status", "telemetry", "ack", "event"];
const ORDERS: [&str; 2] = ["cmd", "enrol"];

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
        Some(devices) => devices
            .keys()
            .map(|id| {
                let (own, heard) = (
                    reports("topic write", id.as_str()),
                    orders("topic read", id.as_str()),
                );
                format!("user {id}\n{own}{heard}")
            })
            .collect(),
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

# A device: its own topics, each by name.
{of_devices}",
        orders("topic write", "+"),
        reports("topic read", "+"),
        reports("topic read", "+"),
    )
}

fn lines(verb: &str, root: impl fmt::Display, who: &str, channels: &[&str]) -> String {
    channels
        .iter()
        .map(|it| format!("{verb} {root}/{who}/{it}\n"))
        .collect()
}
