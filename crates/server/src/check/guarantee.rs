//! Whether the broker keeps what it acknowledged to devices while no node is
//! there.

use std::time::Duration;

use dormouse_core::secret::Secret;
use dormouse_core::topic::Channel;

use super::client::{Answer, ConnectError, Login, Probe};
use super::nodes::kept;
use super::report::Report;
use super::{Account, Bench, PATIENCE, marker};

/// Messages that must be there again.
const MESSAGES: usize = 5;
/// How long a restarted broker may take to answer.
const RESTART: Duration = Duration::from_secs(30);

/// What to do where messages were lost.
const KEEP: &str = "Mosquitto: persistent_client_expiration and max_queued_messages as rendered; EMQX: mqtt.session_expiry_interval and max_mqueue_len as rendered";

pub(super) async fn check(bench: &Bench<'_>, report: &mut Report) {
    let Some(nodes) = &bench.nodes else {
        return;
    };
    let is_kept = away(bench, nodes, report).await;
    restart(bench, nodes, is_kept, report).await;
}

fn client_id() -> String {
    let mark = Secret::random("dormouse-check-");
    mark.expose().chars().take(31).collect()
}

/// Subscribes as the nodes do and goes away without a word.
async fn leave(bench: &Bench<'_>, login: &Login) -> Result<Answer, String> {
    let telemetry = bench.topics.of(&bench.a.id, Channel::Telemetry);
    let shared = format!("$share/{}/{telemetry}", login.client_id);
    let probe = Probe::connect(&bench.broker, login).await;
    let mut probe = probe.map_err(|error| error.to_string())?;
    let answer = probe.subscribe(&shared).await;
    answer.map_err(|error| error.to_string())
}

/// Has the device say something; what the broker acknowledged.
async fn say(bench: &Bench<'_>) -> Vec<String> {
    let telemetry = bench.topics.of(&bench.a.id, Channel::Telemetry);
    let mut said = Vec::new();
    if let Ok(mut device) = Probe::connect(&bench.broker, &bench.a.login()).await {
        for _ in 0..MESSAGES {
            let body = marker();
            if device.publish(&telemetry, &body, false).await == Ok(Answer::Taken) {
                said.push(body);
            }
        }
        device.close().await;
    }
    said
}

/// Comes back and counts; then ends the session.
async fn come_back(
    bench: &Bench<'_>,
    login: &Login,
    said: &[String],
) -> Result<(bool, usize), ConnectError> {
    let mut probe = Probe::connect(&bench.broker, login).await?;
    let is_present = probe.session_present;
    let mut found = 0;
    for body in said {
        // What is not there by then does not come any more.
        let patience = if is_present { PATIENCE } else { Duration::ZERO };
        if !probe.sees(body, patience).await {
            break;
        }
        found += 1;
    }
    probe.close().await;
    let forget = Login {
        clean: true,
        expiry: Duration::ZERO,
        ..login.clone()
    };
    if let Ok(probe) = Probe::connect(&bench.broker, &forget).await {
        probe.close().await;
    }
    Ok((is_present, found))
}

/// A node dies; what devices say meanwhile must be there when it comes back.
async fn away(bench: &Bench<'_>, nodes: &Account, report: &mut Report) -> bool {
    let id = client_id();
    let answer = leave(bench, &kept(nodes, &id)).await;
    let check = report.open(
        "guarantee.shared",
        "nodes share a subscription that is kept",
    );
    match answer {
        Ok(Answer::Taken) => check.ok("granted"),
        Ok(Answer::Refused(code)) => {
            check.fail(
                format!("denied (0x{code:02x})"),
                "EMQX: mqtt.shared_subscription = true, and durable_sessions.enable = false (durable sessions of EMQX 5.8 refuse shared subscriptions)",
            );
            return false;
        }
        Err(error) => {
            check.fail(
                error,
                "nodes need MQTT 5 sessions that outlive a connection",
            );
            return false;
        }
    }
    let said = say(bench).await;
    let back = come_back(bench, &kept(nodes, &id), &said).await;
    let check = report.open(
        "guarantee.away",
        "what devices say while no node is there is kept",
    );
    match back {
        Ok((true, found)) if found == said.len() && found == MESSAGES => {
            check.ok(format!(
                "{found} of {MESSAGES} messages came after the node was back"
            ));
            true
        }
        Ok((true, found)) => {
            check.fail(format!("{found} of {MESSAGES} messages came"), KEEP);
            false
        }
        Ok((false, _)) => {
            check.fail("the session was forgotten", KEEP);
            false
        }
        Err(error) => {
            check.fail(error.to_string(), KEEP);
            false
        }
    }
}

/// The same, with a restart of the broker in between.
async fn restart(bench: &Bench<'_>, nodes: &Account, is_kept: bool, report: &mut Report) {
    let check = report.open(
        "guarantee.restart",
        "what waits outlives the broker's restart",
    );
    let Some(restart) = bench.restart.filter(|_| is_kept) else {
        check.skip(
            "not tried",
            "give --restart-command COMMAND where the broker may be restarted now; Mosquitto needs persistence true, and EMQX 5.8 does not keep what waits for nodes",
        );
        return;
    };
    let id = client_id();
    if let Err(error) = leave(bench, &kept(nodes, &id)).await {
        check.fail(error, KEEP);
        return;
    }
    let said = say(bench).await;
    if let Err(error) = restart().await {
        check.skip(error, "does --restart-command work by itself?");
        return;
    }
    if let Err(error) = answers(bench).await {
        check.fail(error.to_string(), "start the broker");
        return;
    }
    match come_back(bench, &kept(nodes, &id), &said).await {
        Ok((true, found)) if found == MESSAGES => {
            check.ok(format!(
                "{found} of {MESSAGES} messages came after the restart"
            ));
        }
        Ok((is_present, found)) => {
            let session = if is_present {
                ""
            } else {
                "the session was forgotten, and "
            };
            check.fail(
                format!("{session}{found} of {MESSAGES} messages came after the restart"),
                "Mosquitto: persistence true and a persistence_location that it may write to",
            );
        }
        Err(error) => check.fail(error.to_string(), KEEP),
    }
}

/// Waits until the broker answers again.
async fn answers(bench: &Bench<'_>) -> Result<(), ConnectError> {
    let deadline = tokio::time::Instant::now() + RESTART;
    loop {
        match bench.broker.open().await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}
