use dormouse_core::ids::DeviceId;
use dormouse_core::topic::Topics;

use super::*;
use crate::brokers::Accounts;

fn settings(clients: ClientCertificates) -> MosquittoSettings {
    MosquittoSettings {
        rules: Rules {
            topics: Topics::default(),
            accounts: Accounts {
                nodes: "_dormouse".parse().unwrap(),
                check: "_check".parse().unwrap(),
            },
        },
        tls: TlsListener {
            bind: "0.0.0.0:8883".parse().unwrap(),
            certificate: "/etc/mosquitto/dormouse/server.pem".to_owned(),
            key: "/etc/mosquitto/dormouse/server.key".to_owned(),
            client_ca: "/etc/mosquitto/dormouse/client-ca.pem".to_owned(),
            clients,
        },
        plain: "127.0.0.1:1883".parse().unwrap(),
        etc_dir: "/etc/mosquitto/dormouse".to_owned(),
        data_dir: "/var/lib/mosquitto".to_owned(),
        pid_file: "/run/mosquitto/mosquitto.pid".to_owned(),
    }
}

fn secrets() -> MosquittoSecrets {
    MosquittoSecrets {
        nodes: Secret::new("nodes-password"),
        check: Secret::new("check-password"),
    }
}

fn devices(ids: &[&str]) -> Credentials {
    ids.iter()
        .map(|id| {
            let digest = DeviceDigest::of(&Secret::device_password());
            (DeviceId::parse(id).unwrap(), digest)
        })
        .collect()
}

fn text<'f>(files: &'f [Rendered], path: &str) -> &'f str {
    &files.iter().find(|it| it.path == path).unwrap().text
}

/// The committed sample is what the code renders.
#[test]
fn the_sample_is_current() {
    let files = render(
        &settings(ClientCertificates::Off),
        &secrets(),
        &Credentials::new(),
        PasswordFile::default(),
    );
    let open = files.iter().filter(|it| !it.secret);
    crate::brokers::sample::compare("mosquitto", open.map(|it| (it.path, it.text.clone())));
}

#[test]
fn passwords_of_others_and_digests_that_fit_stay_as_they_are() {
    let all = devices(&["A-1", "B-2"]);
    let first = render(
        &settings(ClientCertificates::Off),
        &secrets(),
        &all,
        PasswordFile::parse("grafana:$7$101$x$y\nA-0:$6$old$old\nno line\n"),
    );
    let passwords = text(&first, "passwords");
    let names: Vec<&str> = passwords
        .lines()
        .map(|line| line.split_once(':').unwrap().0)
        .collect();
    assert_eq!(names, ["_check", "_dormouse", "A-1", "B-2"]);
    let again = render(
        &settings(ClientCertificates::Off),
        &secrets(),
        &all,
        PasswordFile::parse(passwords),
    );
    assert_eq!(text(&again, "passwords"), passwords);
    let other = MosquittoSecrets {
        nodes: Secret::new("another"),
        ..secrets()
    };
    let changed = render(
        &settings(ClientCertificates::Off),
        &other,
        &all,
        PasswordFile::parse(passwords),
    );
    assert_ne!(text(&changed, "passwords"), passwords);
}

#[test]
fn with_certificates_the_acl_names_every_device() {
    let all = devices(&["A-1"]);
    let files = render(
        &settings(ClientCertificates::Required),
        &secrets(),
        &all,
        PasswordFile::default(),
    );
    let acl = text(&files, "acl");
    assert!(
        acl.contains("user A-1\ntopic write dorm/A-1/status\n"),
        "{acl}"
    );
    assert!(!acl.contains("pattern"), "{acl}");
    let conf = text(&files, "mosquitto.conf");
    assert!(conf.contains("require_certificate true\nuse_identity_as_username true\n"));
}
