//! Against real Mosquittos, well and badly configured.

use dormouse_testbed::mosquitto::{Mosquitto, Options, Tls};

use super::*;
use crate::brokers::mosquitto::acl_file;
use crate::brokers::{Accounts, Rules};

const A: &str = "dormouse-check-a";
const B: &str = "dormouse-check-b";

fn password(name: &str) -> Secret {
    Secret::new(format!("password-of-{name}"))
}

fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        password: password(name),
    }
}

fn subject(name: &str) -> Subject {
    Subject {
        id: DeviceId::parse(name).unwrap(),
        password: password(name),
    }
}

/// As `dormouse broker mosquitto render` has it.
fn well() -> Options {
    let rules = Rules {
        topics: Topics::default(),
        accounts: Accounts {
            nodes: "_dormouse".parse().unwrap(),
            check: "_check".parse().unwrap(),
        },
    };
    let users = [A, B, "_dormouse", "_check"].map(|name| {
        let password = password(name);
        (name.to_owned(), password.expose().to_owned())
    });
    Options {
        users: users.to_vec(),
        acl: Some(acl_file(&rules, None)),
        ..Options::default()
    }
}

fn at(url: &str) -> Target {
    Target::parse(url, Trust::default()).unwrap()
}

fn plain(broker: &Mosquitto) -> Target {
    at(&format!("mqtt://127.0.0.1:{}", broker.port()))
}

fn bench<'r>(broker: Target) -> Bench<'r> {
    Bench {
        broker,
        embedded: false,
        topics: Topics::default(),
        a: subject(A),
        b: subject(B),
        nodes: Some(account("_dormouse")),
        listener: Some(account("_check")),
        api_url: None,
        api: None,
        outside: None,
        fix: false,
        restart: None,
        now: Timestamp::from_millis(1_800_000_000_000),
    }
}

async fn report(bench: &Bench<'_>) -> Report {
    let report = run(bench).await.unwrap();
    for check in &report.checks {
        let has_remedy = check.remedy.as_ref().is_some_and(|it| !it.is_empty());
        assert_eq!(has_remedy, check.verdict != Verdict::Ok, "{check:?}");
    }
    report
}

fn with(report: &Report, verdict: Verdict) -> Vec<&'static str> {
    let found = report.checks.iter().filter(|it| it.verdict == verdict);
    found.map(|it| it.id).collect()
}

#[tokio::test]
async fn a_well_configured_mosquitto_passes() {
    let broker = Mosquitto::start(&well()).unwrap();
    let restart = || -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let done = broker.stop().and_then(|()| broker.resume());
        Box::pin(std::future::ready(done.map_err(|it| it.to_string())))
    };
    let mut bench = bench(plain(&broker));
    bench.restart = Some(&restart);
    let report = report(&bench).await;
    assert_eq!(with(&report, Verdict::Fail), Vec::<&str>::new(), "{report}");
    // What Mosquitto cannot do.
    assert_eq!(with(&report, Verdict::Warn), ["nodes.retained"], "{report}");
    assert_eq!(
        with(&report, Verdict::Skipped),
        ["tls", "tls.plain", "nodes.sessions"],
        "{report}"
    );
}

#[tokio::test]
async fn a_broker_open_to_everybody_fails_everywhere() {
    let broker = Mosquitto::start(&Options::default()).unwrap();
    let report = report(&bench(plain(&broker))).await;
    assert_eq!(
        with(&report, Verdict::Fail),
        [
            "stranger.anonymous",
            "stranger.password",
            "stranger.defaults",
            "stranger.wildcards",
            "device.publish",
            "device.will",
            "device.command",
            "device.subscribe",
            "device.client-id.wildcard",
            "device.client-id.other",
            "device.client-id.session",
        ],
        "{report}"
    );
    assert_eq!(report.verdict("nodes.publish"), Some(Verdict::Warn));
}

#[tokio::test]
async fn a_rule_that_is_too_wide_lets_a_device_command_itself() {
    let mut options = well();
    options.acl = Some(
        "user _dormouse\ntopic readwrite dorm/#\nuser _check\ntopic read dorm/#\n\
         pattern readwrite dorm/%u/#\n"
            .to_owned(),
    );
    let broker = Mosquitto::start(&options).unwrap();
    let report = report(&bench(plain(&broker))).await;
    assert_eq!(with(&report, Verdict::Fail), ["device.command"], "{report}");
    assert_eq!(
        with(&report, Verdict::Warn),
        ["nodes.publish", "nodes.retained"]
    );
}

#[tokio::test]
async fn topics_by_client_id_are_found() {
    let mut options = well();
    let acl = options.acl.take().unwrap();
    options.acl = Some(format!("{acl}pattern readwrite dorm/%c/status\n"));
    let broker = Mosquitto::start(&options).unwrap();
    let report = report(&bench(plain(&broker))).await;
    assert_eq!(
        with(&report, Verdict::Fail),
        ["device.client-id.other"],
        "{report}"
    );
}

#[tokio::test]
async fn default_passwords_and_a_deaf_account_are_found() {
    let mut options = well();
    options
        .users
        .push(("admin".to_owned(), "public".to_owned()));
    options.acl = Some(
        "user _check\ntopic read dorm/#\npattern write dorm/%u/status\npattern write dorm/%u/telemetry\n\
         pattern write dorm/%u/ack\npattern write dorm/%u/event\npattern read dorm/%u/cmd\n"
            .to_owned(),
    );
    let broker = Mosquitto::start(&options).unwrap();
    let report = report(&bench(plain(&broker))).await;
    assert_eq!(
        with(&report, Verdict::Fail),
        [
            "stranger.defaults",
            "nodes.subscribe",
            "nodes.command",
            "guarantee.away"
        ],
        "{report}"
    );
}

#[tokio::test]
async fn what_is_not_kept_is_found() {
    let mut options = well();
    options.settings = "max_queued_messages 2\nmax_inflight_messages 1\n".to_owned();
    let broker = Mosquitto::start(&options).unwrap();
    let found = report(&bench(plain(&broker))).await;
    assert_eq!(with(&found, Verdict::Fail), ["guarantee.away"], "{found}");

    let broker = Mosquitto::start(&well()).unwrap();
    // As a broker that keeps nothing on disk.
    let restart = || -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let done = broker.kill().and_then(|()| broker.resume());
        Box::pin(std::future::ready(done.map_err(|it| it.to_string())))
    };
    let mut forgetful = bench(plain(&broker));
    forgetful.restart = Some(&restart);
    let found = report(&forgetful).await;
    assert_eq!(
        with(&found, Verdict::Fail),
        ["guarantee.restart"],
        "{found}"
    );
}

#[tokio::test]
async fn retained_commands_are_found_and_cleared() {
    let broker = Mosquitto::start(&well()).unwrap();
    let mut bench = bench(plain(&broker));
    let mut nodes = Probe::connect(&bench.broker, &account("_dormouse").login())
        .await
        .unwrap();
    for id in ["A-1", "A-2"] {
        let topic = format!("dorm/{id}/cmd");
        nodes
            .publish(&topic, "{\"action\":\"on\"}", true)
            .await
            .unwrap();
    }
    let found = report(&bench).await;
    let check = found.checks.iter().find(|it| it.id == "retained").unwrap();
    assert_eq!(check.verdict, Verdict::Fail);
    assert_eq!(check.found, "2: dorm/A-1/cmd, dorm/A-2/cmd");
    bench.fix = true;
    let fixed = report(&bench).await;
    assert_eq!(fixed.verdict("retained"), Some(Verdict::Ok), "{fixed}");
    bench.fix = false;
    let again = report(&bench).await;
    assert_eq!(again.verdict("retained"), Some(Verdict::Ok), "{again}");
}

#[tokio::test]
async fn tls_is_judged_and_a_foreign_authority_is_no_way_in() {
    let mut options = well();
    options.tls = Tls::Server;
    let broker = Mosquitto::start(&options).unwrap();
    let url = format!("mqtts://localhost:{}", broker.tls_port());
    let ca = broker.file("ca.pem");
    let trust = Trust {
        ca_file: Some(&ca),
        identity: None,
    };
    let mut encrypted = bench(Target::parse(&url, trust).unwrap());
    let found = report(&encrypted).await;
    assert_eq!(found.verdict("tls"), Some(Verdict::Ok), "{found}");
    assert_eq!(found.verdict("tls.expiry"), Some(Verdict::Ok), "{found}");
    assert_eq!(with(&found, Verdict::Fail), Vec::<&str>::new(), "{found}");
    // One second before rcgen's certificates end.
    encrypted.now = Timestamp::from_millis(67_090_000_000_000);
    let late = report(&encrypted).await;
    assert_eq!(late.verdict("tls.expiry"), Some(Verdict::Warn), "{late}");

    let other = Mosquitto::start(&options).unwrap();
    let other_ca = other.file("ca.pem");
    let trust = Trust {
        ca_file: Some(&other_ca),
        identity: None,
    };
    let foreign = bench(Target::parse(&url, trust).unwrap());
    let error = run(&foreign).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error}");
}

#[tokio::test]
async fn nobody_there_and_an_unknown_device_are_errors() {
    let port = dormouse_testbed::free_port().unwrap();
    let nobody = bench(at(&format!("mqtt://127.0.0.1:{port}")));
    let error = run(&nobody).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");

    let broker = Mosquitto::start(&well()).unwrap();
    let stranger = subject("A-9");
    let error = until_known(&plain(&broker), &stranger, Duration::ZERO).await;
    assert_eq!(error, Err(ConnectError::Refused(0x87)));
}

#[test]
fn addresses_are_read_and_never_repeated() {
    for (url, shown) in [
        ("mqtt://broker", "mqtt://broker:1883"),
        ("mqtt://[::1]:2883", "mqtt://[::1]:2883"),
    ] {
        assert_eq!(at(url).to_string(), shown);
    }
    for url in [
        "broker",
        "http://broker",
        "mqtt://me:hidden@broker",
        "mqtt://",
    ] {
        let error = Target::parse(url, Trust::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("--broker: ") && !error.contains("hidden"),
            "{error}"
        );
    }
}
