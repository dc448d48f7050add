//! What somebody may do who has no business here.

use dormouse_core::secret::Secret;
use reqwest::{Client, StatusCode};
use serde_json::json;

use super::client::{ConnectError, Login, Probe};
use super::report::Report;
use super::{Bench, PATIENCE};

/// Names and passwords that brokers, their examples and their images come with.
const DEFAULTS: [(&str, &str); 12] = [
    ("admin", "public"),
    ("admin", "admin"),
    ("admin", "password"),
    ("emqx", "public"),
    ("guest", "guest"),
    ("mqtt", "mqtt"),
    ("mosquitto", "mosquitto"),
    ("root", "root"),
    ("test", "test"),
    ("user", "password"),
    ("dormouse", "dormouse"),
    ("_dormouse", "_dormouse"),
];
/// Names that become wildcards where a broker puts them into a topic.
const WILDCARDS: [&str; 3] = ["+", "#", "+/+"];

pub(super) async fn check(bench: &Bench<'_>, report: &mut Report) {
    let nobody = [("no name", Login::anonymous())];
    let found = let_in(bench, nobody).await;
    conclude(
        report.open("stranger.anonymous", "nobody comes in without a name"),
        &found,
        "Mosquitto: allow_anonymous false; EMQX: an enabled authenticator and enable_authn = quick_deny_anonymous",
    );

    let a = bench.a.id.as_str();
    let guesses = ["", "wrong", a].map(|it| ("a wrong password", Login::new(a, &Secret::new(it))));
    let without = Login {
        password: None,
        ..Login::new(a, &Secret::new(""))
    };
    let found = let_in(bench, guesses.into_iter().chain([("no password", without)])).await;
    conclude(
        report.open("stranger.password", "a device's name needs its password"),
        &found,
        "Mosquitto: a password_file; EMQX: the password authenticator must not be disabled",
    );

    let defaults =
        DEFAULTS.map(|(name, password)| (name, Login::new(name, &Secret::new(password))));
    let found = let_in(bench, defaults).await;
    conclude(
        report.open("stranger.defaults", "no default password works"),
        &found,
        "remove that account, or give it a password of its own",
    );

    let wildcards = WILDCARDS.map(|it| (it, Login::new(it, &Secret::new(it))));
    let found = let_in(bench, wildcards).await;
    conclude(
        report.open("stranger.wildcards", "no name with a wildcard comes in"),
        &found,
        "remove such accounts: their name reaches the topics of all devices",
    );
    dashboard(bench, report).await;
}

/// What let somebody in, and what could not be told.
#[derive(Debug, Default)]
struct Found {
    tried: usize,
    let_in: Vec<&'static str>,
    unclear: Option<ConnectError>,
}

async fn let_in(
    bench: &Bench<'_>,
    logins: impl IntoIterator<Item = (&'static str, Login)>,
) -> Found {
    let mut found = Found::default();
    for (what, login) in logins {
        found.tried += 1;
        match Probe::connect(&bench.broker, &login).await {
            Ok(probe) => {
                found.let_in.push(what);
                probe.close().await;
            }
            Err(ConnectError::Refused(_)) => {}
            Err(error) => found.unclear = Some(error),
        }
    }
    found
}

fn conclude(check: super::report::Open<'_>, found: &Found, remedy: &str) {
    match (&found.unclear, found.let_in.as_slice()) {
        (None, []) => check.ok(format!("refused {} times out of {0}", found.tried)),
        (Some(error), []) => check.warn(error.to_string(), "try again when the broker answers"),
        (_, names) => check.fail(format!("let in with {}", names.join(", ")), remedy),
    }
}

/// EMQX's dashboard comes with a password that everybody knows.
async fn dashboard(bench: &Bench<'_>, report: &mut Report) {
    let Some(api) = &bench.api_url else {
        return;
    };
    let check = report.open(
        "stranger.dashboard",
        "EMQX's dashboard has a password of its own",
    );
    let client = Client::builder().timeout(PATIENCE).no_proxy().build();
    let login = json!({"username": "admin", "password": "public"});
    let url = format!("{}/api/v5/login", api.trim_end_matches('/'));
    let answer = match client {
        Ok(client) => client.post(url).json(&login).send().await,
        Err(error) => Err(error),
    };
    match answer.map(|it| it.status()) {
        Ok(StatusCode::OK) => check.fail(
            "admin/public works",
            "EMQX: emqx ctl admins passwd admin NEW, and keep the dashboard to its own machine",
        ),
        Ok(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
            check.ok(format!("admin/public is refused ({status})"));
        }
        Ok(status) => check.warn(
            format!("it answered {status}"),
            "is --api the address of EMQX's REST API?",
        ),
        Err(error) => check.warn(
            format!("no answer: {}", error.without_url()),
            "is --api the address of EMQX's REST API?",
        ),
    }
}
