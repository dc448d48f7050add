//! Whether a client id gets hold of another's session.

use std::time::Duration;

use dormouse_core::secret::Secret;
use dormouse_core::topic::Channel;

use super::client::{Login, Probe};
use super::report::Report;
use super::{Bench, PATIENCE, QUIET, marker};

/// How long the session outlives its owner's connection.
const KEPT: Duration = Duration::from_secs(60);

/// What to do where it does.
const REMEDY: &str = "EMQX 5.8.3 or later: mqtt.clientid_override = \"concat([username, ':', clientid])\"; Mosquitto: an ACL file";

/// A client id is free, and brokers find sessions by it: whoever comes with
/// another's must not be handed what that one subscribed to.
pub(super) async fn check(bench: &Bench<'_>, report: &mut Report) {
    let id: String = Secret::random("dormouse-check-").expose()[..31].to_owned();
    let found = attempt(bench, &id).await;
    // Whosever the session is now, it ends.
    for owner in [bench.a.login(), bench.b.login()] {
        let end = Login {
            client_id: id.clone(),
            ..owner
        };
        if let Ok(probe) = Probe::connect(&bench.broker, &end).await {
            probe.close().await;
        }
    }
    let check = report.open(
        "device.client-id.session",
        "another's client id gets nothing of its session",
    );
    match found {
        Ok(Found::Own) => check.ok("a session of its own"),
        Ok(Found::Empty) => check.ok("the session changes hands, and nothing comes by it"),
        Ok(Found::Heard(topic)) => check.fail(format!("heard {topic}"), REMEDY),
        Ok(Found::Unknown) => check.warn(
            "the session changes hands, and nobody saw whether anything comes by it",
            "give the nodes' account: --nodes-account NAME:FILE",
        ),
        Err(error) => check.warn(error, "try again"),
    }
}

enum Found {
    /// No session of another.
    Own,
    /// One, by which nothing came.
    Empty,
    /// One, by which something came on this topic.
    Heard(String),
    /// One; there is nobody who could say something on it.
    Unknown,
}

async fn attempt(bench: &Bench<'_>, id: &str) -> Result<Found, String> {
    let kept = |owner: Login| Login {
        client_id: id.to_owned(),
        clean: false,
        expiry: KEPT,
        ..owner
    };
    let topic = bench.topics.of(&bench.b.id, Channel::Cmd);
    let owner = Probe::connect(&bench.broker, &kept(bench.b.login())).await;
    let mut owner = owner.map_err(|error| error.to_string())?;
    let answer = owner.subscribe(&topic).await;
    answer.map_err(|error| error.to_string())?;
    drop(owner);
    let thief = Probe::connect(&bench.broker, &kept(bench.a.login())).await;
    let mut thief = thief.map_err(|error| error.to_string())?;
    if !thief.session_present {
        thief.close().await;
        return Ok(Found::Own);
    }
    let Some(nodes) = bench.nodes.as_ref().filter(|_| !bench.embedded) else {
        return Ok(Found::Unknown);
    };
    // What only the owner may hear, and something that may be heard behind it.
    let (secret, last) = (marker(), marker());
    let own = bench.topics.of(&bench.a.id, Channel::Cmd);
    thief.subscribe(&own).await.ok();
    let speaker = Probe::connect(&bench.broker, &nodes.login()).await;
    let mut speaker = speaker.map_err(|error| error.to_string())?;
    for (topic, body) in [(&topic, &secret), (&own, &last)] {
        speaker.publish(topic, body, false).await.ok();
    }
    speaker.close().await;
    if !thief.sees(&last, PATIENCE).await {
        return Err("no command came by the session that changed hands".to_owned());
    }
    let heard = thief.everything(QUIET).await;
    thief.close().await;
    let secret = heard.iter().find(|got| got.payload == secret.as_bytes());
    Ok(secret.map_or(Found::Empty, |got| Found::Heard(got.topic.clone())))
}
