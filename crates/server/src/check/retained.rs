//! Commands that are retained would be carried out at every reconnect: finds
//! them, and takes them away where asked to.

use std::collections::BTreeSet;

use super::client::Probe;
use super::report::Report;
use super::{Account, Bench, QUIET};

/// Topics named in the report.
const NAMED: usize = 5;

pub(super) async fn check(bench: &Bench<'_>, report: &mut Report) {
    let check = report.open("retained", "no command is retained");
    let Some(listener) = &bench.listener else {
        check.skip(
            "no account that may look",
            "give the account that listens: --check-account NAME:FILE",
        );
        return;
    };
    let found = match find(bench, listener).await {
        Ok(found) if found.is_empty() => {
            check.ok("none");
            return;
        }
        Ok(found) => found,
        Err(problem) => {
            check.skip(problem, "may --check-account subscribe ROOT/+/cmd?");
            return;
        }
    };
    let named: Vec<&str> = found.iter().take(NAMED).map(String::as_str).collect();
    let mut names = named.join(", ");
    if found.len() > NAMED {
        names.push_str(", …");
    }
    if !bench.fix {
        check.fail(
            format!("{}: {names}", found.len()),
            "have them cleared: --fix; then find out who retained them",
        );
        return;
    }
    clear(bench, &found).await;
    match find(bench, listener).await {
        Ok(left) if left.is_empty() => check.ok(format!("{} cleared: {names}", found.len())),
        Ok(left) => check.fail(
            format!(
                "{} of {} could not be cleared: {names}",
                left.len(),
                found.len()
            ),
            "clear them at the broker (EMQX: DELETE /api/v5/mqtt/retainer/message/TOPIC)",
        ),
        Err(problem) => check.skip(problem, "run it again"),
    }
}

async fn find(bench: &Bench<'_>, listener: &Account) -> Result<BTreeSet<String>, String> {
    let probe = Probe::connect(&bench.broker, &listener.login()).await;
    let mut probe = probe.map_err(|error| error.to_string())?;
    let filter = format!("{}/+/cmd", bench.topics.root());
    match probe.subscribe(&filter).await {
        Ok(super::client::Answer::Taken) => {}
        Ok(super::client::Answer::Refused(code)) => {
            return Err(format!("{filter} is denied (0x{code:02x})"));
        }
        Err(error) => return Err(error.to_string()),
    }
    let all = probe.everything(QUIET * 2).await;
    probe.close().await;
    Ok(all
        .into_iter()
        .filter(|it| it.retained && !it.payload.is_empty())
        .map(|it| it.topic)
        .collect())
}

/// By EMQX's API, and by the account that may publish commands.
async fn clear(bench: &Bench<'_>, topics: &BTreeSet<String>) {
    if let Some(api) = bench.api {
        for topic in topics {
            api.clear_retained(topic).await.ok();
        }
    }
    let Some(nodes) = &bench.nodes else {
        return;
    };
    for topic in topics {
        // A connection for each: one may be hung up on.
        if let Ok(mut probe) = Probe::connect(&bench.broker, &nodes.login()).await {
            probe.publish(topic, "", true).await.ok();
            probe.close().await;
        }
    }
}
