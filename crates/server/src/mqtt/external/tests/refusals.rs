//! Brokers that cannot be used say why.

use std::net::TcpListener;

use dormouse_core::services::registry::JoinMode;
use dormouse_testbed::mosquitto::{Mosquitto, Options, Tls};

use super::script::{Script, play};
use super::support::*;
use crate::mqtt::external::{LinkSettings, Versions};

const ALL: &str = "topic read dorm/+/telemetry\ntopic read dorm/+/status\n\
                   topic read dorm/+/ack\ntopic read dorm/+/event\ntopic write dorm/+/cmd\n";

fn with_users(acl: &str) -> Mosquitto {
    Mosquitto::start(&Options {
        users: vec![("backend".to_owned(), "right-password".to_owned())],
        acl: Some(format!("user backend\n{acl}")),
        ..Options::default()
    })
    .unwrap()
}

/// Settings for the account `backend` with `password`.
fn account(broker: &Mosquitto, password: &str, versions: Versions) -> LinkSettings {
    let file = broker.file("backend-password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    LinkSettings {
        username: "backend".to_owned(),
        password_file: Some(file),
        ..settings(broker.port(), versions)
    }
}

async fn problem(settings: LinkSettings) -> String {
    let site = Site::default();
    match site.start("a", settings, JoinMode::Open).await {
        Ok(_) => panic!("it was used"),
        Err(error) => {
            assert_eq!(
                site.leases.holder("slot/0"),
                None,
                "the slot was given back"
            );
            error.to_string()
        }
    }
}

fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert!(!error.contains("-password"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_names_account_and_settings_in_both_versions() {
    let broker = with_users(ALL);
    for versions in [Versions::V5, Versions::V311] {
        let settings = account(&broker, "wrong-password", versions);
        let error = problem(settings).await;
        says(&error, &["'backend'", "broker.username"]);
    }
    let right = account(&broker, "right-password", Versions::Auto);
    let node = Site::default().start("a", right, JoinMode::Open).await;
    node.unwrap().stop().await;
}

#[tokio::test]
async fn a_denied_subscription_names_the_account_and_what_it_needs() {
    let denied = |code| Script {
        denied: vec![("/ack".to_owned(), code)],
        ..Script::default()
    };
    let port = play(denied(0x87)).await;
    let error = problem(settings(port, Versions::V5)).await;
    says(
        &error,
        &["'$share/dormouse/dorm/+/ack'", "broker.username", "0x87"],
    );
    let port = play(denied(0x9E)).await;
    let error = problem(settings(port, Versions::V5)).await;
    says(&error, &["broker.url", "shared subscriptions"]);
}

#[tokio::test]
async fn a_broker_that_is_busy_is_asked_again() {
    let busy = Script {
        busy: 3,
        ..Script::default()
    };
    let port = play(busy).await;
    let site = Site::default();
    let started = site
        .start("a", settings(port, Versions::V5), JoinMode::Open)
        .await;
    started.unwrap().stop().await;
}

#[tokio::test]
async fn nobody_listening_names_url_and_address() {
    let port = dormouse_testbed::free_port().unwrap();
    let error = problem(settings(port, Versions::Auto)).await;
    says(
        &error,
        &["broker.url", &format!("127.0.0.1:{port}"), "running"],
    );
}

#[tokio::test]
async fn something_else_that_listens_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let web = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 16];
        assert!(stream.read(&mut greeting).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let error = problem(settings(port, Versions::Auto)).await;
    says(&error, &["broker.url", "is it an MQTT broker"]);
    web.join().unwrap();
}

#[tokio::test]
async fn tls_problems_say_which_file_to_look_at() {
    let broker = Mosquitto::start(&Options {
        tls: Tls::Mutual,
        ..Options::default()
    })
    .unwrap();
    let stranger = Mosquitto::start(&Options {
        tls: Tls::Server,
        ..Options::default()
    })
    .unwrap();
    let encrypted = LinkSettings {
        url: format!("mqtts://127.0.0.1:{}", broker.tls_port()),
        ca_file: Some(broker.file("ca.pem")),
        certificate_file: Some(broker.file("client.pem")),
        key_file: Some(broker.file("client.key")),
        ..settings(broker.port(), Versions::Auto)
    };
    let wrong_authority = LinkSettings {
        ca_file: Some(stranger.file("ca.pem")),
        ..encrypted.clone()
    };
    says(
        &problem(wrong_authority).await,
        &["broker.url", "TLS", "broker.ca_file"],
    );
    let no_certificate = LinkSettings {
        certificate_file: None,
        key_file: None,
        ..encrypted.clone()
    };
    says(
        &problem(no_certificate).await,
        &["TLS", "broker.certificate_file"],
    );
    let plain_port = LinkSettings {
        url: format!("mqtts://127.0.0.1:{}", broker.port()),
        ..encrypted.clone()
    };
    says(&problem(plain_port).await, &["broker.url", "TLS"]);
    let no_file = LinkSettings {
        ca_file: Some(broker.file("nowhere.pem")),
        ..encrypted
    };
    says(&problem(no_file).await, &["broker.ca_file", "nowhere.pem"]);
}

#[tokio::test]
async fn a_broker_that_keeps_no_sessions_or_shares_nothing_is_refused() {
    // CONNACK of MQTT 5: session expiry interval 0; no shared subscriptions.
    let no_sessions: &[u8] = &[0x20, 0x08, 0, 0, 5, 0x11, 0, 0, 0, 0];
    let no_shares: &[u8] = &[0x20, 0x05, 0, 0, 2, 0x2A, 0];
    for (answer, missing) in [
        (no_sessions, "persistent sessions"),
        (no_shares, "shared subscriptions"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let poor = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = [0; 128];
            assert!(stream.read(&mut greeting).unwrap() > 0);
            stream.write_all(answer).unwrap();
        });
        let error = problem(settings(port, Versions::Auto)).await;
        says(&error, &["broker.url", missing]);
        poor.join().unwrap();
    }
}

#[tokio::test]
async fn a_broker_without_mqtt_5_is_spoken_to_in_3_1_1_unless_that_is_set() {
    // What a broker of MQTT 3.1.1 answers to MQTT 5, then to its own version.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let old = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut levels = Vec::new();
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut greeting = [0; 128];
            assert!(stream.read(&mut greeting).unwrap() > 0);
            levels.push(greeting[8]);
            let answer = if greeting[8] == 5 { 1 } else { 3 };
            stream.write_all(&[0x20, 2, 0, answer]).unwrap();
        }
        levels
    });
    let error = problem(settings(port, Versions::Auto)).await;
    says(&error, &["not available now"]);
    let error = problem(settings(port, Versions::V5)).await;
    says(&error, &["broker.version"]);
    assert_eq!(old.join().unwrap(), [5, 4, 5]);
}
