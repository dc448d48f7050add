//! What Dormouse's own account may do: all it needs, and no more.

use dormouse_core::topic::Channel;

use super::client::{Answer, Login, Probe};
use super::report::{Open, Report};
use super::{Account, Bench, PATIENCE, QUIET, marker};

/// What to do where the account is not as it should be.
const RULES: &str = "let it publish ROOT/+/cmd and enrol, and subscribe ROOT/+/status, telemetry, ack and event (`dormouse broker … render` writes such rules)";

pub(super) async fn check(bench: &Bench<'_>, report: &mut Report) {
    let check = report.open("nodes.account", "Dormouse's own account comes in");
    let Some(nodes) = &bench.nodes else {
        check.skip(
            "not given",
            "set broker.username and broker.password_file, or give --nodes-account NAME:FILE",
        );
        return;
    };
    let mut probe = match Probe::connect(&bench.broker, &nodes.login()).await {
        Ok(probe) => {
            check.ok(format!("as {}", nodes.name));
            probe
        }
        Err(error) => {
            check.fail(
                error.to_string(),
                "are broker.username and broker.password_file those of an account at this broker?",
            );
            return;
        }
    };
    hears(bench, &mut probe, report).await;
    commands(bench, &mut probe, report).await;
    speaks(bench, nodes, report).await;
    retains(bench, nodes, report).await;
    sessions(bench, nodes, report).await;
    probe.close().await;
}

async fn hears(bench: &Bench<'_>, probe: &mut Probe, report: &mut Report) {
    let check = report.open("nodes.subscribe", "it hears every device");
    let root = bench.topics.root();
    let mut denied = Vec::new();
    // Asked for as the nodes do, and given up at once.
    for channel in ["status", "telemetry", "ack", "event"] {
        let filter = format!("{root}/+/{channel}");
        match probe.subscribe(&filter).await {
            Ok(Answer::Taken) => {}
            Ok(Answer::Refused(code)) => denied.push(format!("{filter} (0x{code:02x})")),
            Err(error) => denied.push(format!("{filter} ({error})")),
        }
    }
    let said = say(bench, &bench.a).await;
    if !denied.is_empty() {
        check.fail(format!("denied: {}", denied.join(", ")), RULES);
    } else if probe.sees(&said, PATIENCE).await {
        check.ok("status, telemetry, acks and events");
    } else {
        check.fail("what a device said did not arrive", RULES);
    }
}

/// Has a device say something on its telemetry.
async fn say(bench: &Bench<'_>, device: &super::Subject) -> String {
    let body = marker();
    if let Ok(mut probe) = Probe::connect(&bench.broker, &device.login()).await {
        let topic = bench.topics.of(&device.id, Channel::Telemetry);
        probe.publish(&topic, &body, false).await.ok();
        probe.close().await;
    }
    body
}

async fn commands(bench: &Bench<'_>, probe: &mut Probe, report: &mut Report) {
    let check = report.open("nodes.command", "its commands reach a device");
    let topic = bench.topics.of(&bench.a.id, Channel::Cmd);
    let Ok(mut device) = Probe::connect(&bench.broker, &bench.a.login()).await else {
        check.fail("the device was not let in", "see device.own");
        return;
    };
    device.subscribe(&topic).await.ok();
    let body = marker();
    let answer = probe.publish(&topic, &body, false).await;
    let arrived = device.sees(&body, PATIENCE).await;
    device.close().await;
    match answer {
        _ if arrived => check.ok("arrived"),
        Ok(Answer::Refused(code)) => check.fail(format!("denied (0x{code:02x})"), RULES),
        Ok(Answer::Taken) => check.fail("taken, but it did not arrive", RULES),
        Err(error) => check.fail(error.to_string(), RULES),
    }
}

/// Speaking for devices is nothing it needs: who stole its password could
/// make up readings.
async fn speaks(bench: &Bench<'_>, nodes: &Account, report: &mut Report) {
    let check = report.open("nodes.publish", "it cannot speak for a device");
    let topic = bench.topics.of(&bench.a.id, Channel::Telemetry);
    let (Ok(mut watch), Ok(mut probe)) = (
        Probe::connect(&bench.broker, &nodes.login()).await,
        Probe::connect(&bench.broker, &nodes.login()).await,
    ) else {
        check.warn("it was not let in again", "try again");
        return;
    };
    watch.subscribe(&topic).await.ok();
    let body = marker();
    probe.publish(&topic, &body, false).await.ok();
    let last = say(bench, &bench.a).await;
    let is_there = watch.sees(&last, PATIENCE).await && watch.sees(&body, QUIET).await;
    watch.close().await;
    probe.close().await;
    if is_there {
        check.warn(format!("published on {topic}"), RULES);
    } else {
        check.ok("denied");
    }
}

async fn retains(bench: &Bench<'_>, nodes: &Account, report: &mut Report) {
    let check = report.open("nodes.retained", "a retained command is refused");
    let topic = bench.topics.of(&bench.b.id, Channel::Cmd);
    let Ok(mut probe) = Probe::connect(&bench.broker, &nodes.login()).await else {
        check.warn("it was not let in again", "try again");
        return;
    };
    let body = marker();
    let answer = probe.publish(&topic, &body, true).await;
    probe.close().await;
    let Ok(mut device) = Probe::connect(&bench.broker, &bench.b.login()).await else {
        check.warn("the device was not let in again", "try again");
        return;
    };
    device.subscribe(&topic).await.ok();
    let is_kept = device.sees(&body, QUIET * 2).await;
    device.close().await;
    if let Ok(mut probe) = Probe::connect(&bench.broker, &nodes.login()).await {
        probe.publish(&topic, "", true).await.ok();
        probe.close().await;
    }
    match (is_kept, answer) {
        (true, _) => check.warn(
            "the broker kept it (taken away again)",
            "EMQX: {publish, [{retain, false}]} in acl.conf; Mosquitto cannot refuse it, and Dormouse never retains a command",
        ),
        (false, Ok(Answer::Refused(code))) => check.ok(format!("refused (0x{code:02x})")),
        (false, _) => check.ok("not kept"),
    }
}

/// EMQX tells of sessions; other brokers have no such topics.
async fn sessions(bench: &Bench<'_>, nodes: &Account, report: &mut Report) {
    let check = report.open("nodes.sessions", "it hears of sessions");
    let Ok(mut probe) = Probe::connect(&bench.broker, &nodes.login()).await else {
        check.warn("it was not let in again", "try again");
        return;
    };
    let filter = "$SYS/brokers/+/clients/+/connected";
    let answer = probe.subscribe(filter).await;
    let login = bench.a.login();
    if let Ok(device) = Probe::connect(&bench.broker, &login).await {
        device.close().await;
    }
    let all = probe.everything(QUIET * 2).await;
    probe.close().await;
    let heard = all.iter().any(|it| is_of(&it.topic, &login.client_id));
    told(
        check,
        heard,
        answer == Ok(Answer::Taken),
        bench.api_url.is_some(),
    );
}

/// Whether EMQX tells of `client` on `topic`; what stands before a client id
/// there says whose it is.
fn is_of(topic: &str, client: &str) -> bool {
    let told = topic.split_once("/clients/").map(|it| it.1);
    let told = told.and_then(|it| it.split_once('/')).map(|it| it.0);
    told.is_some_and(|told| told == client || told.ends_with(&format!(":{client}")))
}

fn told(check: Open<'_>, heard: bool, granted: bool, is_emqx: bool) {
    if heard {
        check.ok("each connection, at once");
    } else if is_emqx {
        let found = if granted {
            "granted, but nothing came"
        } else {
            "denied"
        };
        check.warn(
            found,
            "EMQX: sys_topics.sys_event_messages.client_connected = true, and let the account subscribe it",
        );
    } else {
        check.skip(
            "this broker does not tell",
            "nothing: presence is then known from messages, wills and silence",
        );
    }
}

/// A session that is kept while nobody is there. Begun with a clean start,
/// Mosquitto 2.0 would not write it to disk.
pub(super) fn kept(account: &Account, client_id: &str) -> Login {
    Login {
        client_id: client_id.to_owned(),
        clean: false,
        expiry: std::time::Duration::from_secs(120),
        ..account.login()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_of_by_its_id_whosever_it_is() {
        let topic = |client| format!("$SYS/brokers/emqx@127.0.0.1/clients/{client}/connected");
        assert!(is_of(&topic("c-1"), "c-1"));
        assert!(is_of(&topic("strip-1:c-1"), "c-1"));
        assert!(!is_of(&topic("strip-1:xc-1"), "c-1"));
        assert!(!is_of(&topic("c-1:other"), "c-1"));
        assert!(!is_of("$SYS/brokers/emqx@127.0.0.1/uptime", "c-1"));
    }
}
