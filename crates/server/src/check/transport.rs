//! What TLS shows, and whether there is a way in without it.

use super::client::{ConnectError, Login, Probe};
use super::report::Report;
use super::target::{Peer, Target};
use super::{Bench, PATIENCE};

/// Seconds in a day.
const DAY_S: u64 = 86_400;
/// A certificate that ends sooner should be renewed now, days.
const RENEW_DAYS: u64 = 30;
/// The port of MQTT without TLS.
const PLAIN: u16 = 1883;

pub(super) async fn check(bench: &Bench<'_>, peer: &Peer, report: &mut Report) {
    encryption(bench, report);
    certificate(bench, peer, report);
    outside(bench, report).await;
}

fn encryption(bench: &Bench<'_>, report: &mut Report) {
    let check = report.open("tls", "passwords travel encrypted");
    if bench.broker.is_encrypted() {
        check.ok("TLS, and the broker's certificate is trusted");
    } else if bench.broker.is_local() {
        check.skip(
            "this way ends on this machine",
            "check the way that devices take, too: --broker mqtts://HOST:8883",
        );
    } else {
        check.fail(
            "no TLS: whoever listens on the network reads every password",
            "let devices come in by a TLS listener (8883), and keep 1883 to the broker's own machine",
        );
    }
}

fn certificate(bench: &Bench<'_>, peer: &Peer, report: &mut Report) {
    let Some(ends) = peer.certificate_ends else {
        return;
    };
    let now = u64::try_from(bench.now.as_millis()).unwrap_or(0) / 1_000;
    let days = ends.saturating_sub(now) / DAY_S;
    let check = report.open("tls.expiry", "the certificate lasts");
    if days < RENEW_DAYS {
        check.warn(
            format!("it ends in {days} days; no device comes in after that"),
            "renew it now, and have the broker load the new one",
        );
    } else {
        check.ok(format!("{days} days"));
    }
}

async fn outside(bench: &Bench<'_>, report: &mut Report) {
    let check = report.open("tls.plain", "nobody comes in from outside without TLS");
    let host = match &bench.outside {
        Some(host) => host.clone(),
        None if bench.broker.is_encrypted() && !bench.broker.is_local() => {
            bench.broker.host.clone()
        }
        None => {
            check.skip(
                "the broker's address as others see it is not known",
                "give it: --outside HOST",
            );
            return;
        }
    };
    let plain = Target::plain(host, PLAIN);
    match Probe::connect(&plain, &Login::anonymous()).await {
        Err(ConnectError::Unreachable(_) | ConnectError::Tls(_)) => {
            check.ok(format!(
                "nothing answers at {plain} within {} s",
                PATIENCE.as_secs()
            ));
        }
        Ok(_) | Err(ConnectError::Refused(_)) => check.fail(
            format!("{plain} answers"),
            "bind that listener to 127.0.0.1, or close the port in the firewall",
        ),
    }
}
