use dormouse_core::topic::Topics;

use super::*;
use crate::brokers::{Accounts, ClientCertificates};

/// Stands where a secret would; the sample has a substitution there that
/// nothing resolves, so that nobody can start a broker with it.
const GENERATED: &str = "<generated>";

fn settings() -> EmqxSettings {
    EmqxSettings {
        rules: Rules {
            topics: Topics::default(),
            accounts: Accounts {
                nodes: "_dormouse".parse().unwrap(),
                check: "_check".parse().unwrap(),
            },
        },
        node_name: "emqx@127.0.0.1".to_owned(),
        seeds: Vec::new(),
        tls: TlsListener {
            bind: "0.0.0.0:8883".parse().unwrap(),
            certificate: "/opt/emqx/etc/dormouse/server.pem".to_owned(),
            key: "/opt/emqx/etc/dormouse/server.key".to_owned(),
            client_ca: "/opt/emqx/etc/dormouse/client-ca.pem".to_owned(),
            clients: ClientCertificates::Off,
        },
        plain: "127.0.0.1:1883".parse().unwrap(),
        dashboard: "127.0.0.1:18083".parse().unwrap(),
        etc_dir: "/opt/emqx/etc/dormouse".to_owned(),
        data_dir: "/opt/emqx/data".to_owned(),
        durable_sessions: false,
        database: CredentialsDatabase {
            server: "127.0.0.1:5432".to_owned(),
            name: "dormouse".to_owned(),
            ca_file: None,
        },
    }
}

fn secrets(text: &str) -> EmqxSecrets {
    let secret = || Secret::new(text);
    EmqxSecrets {
        cookie: secret(),
        dashboard: secret(),
        database: secret(),
        api: secret(),
        nodes: secret(),
        check: secret(),
    }
}

fn file(files: &[Rendered], path: &str) -> String {
    let file = files.iter().find(|it| it.path == path);
    file.unwrap().text.clone()
}

/// The committed sample is what the code renders.
#[test]
fn the_sample_is_current() {
    let files = render(&settings(), &secrets(GENERATED));
    let shown = files
        .iter()
        .filter(|it| !it.secret || it.path == "emqx.conf")
        .map(|it| {
            let text = it
                .text
                .replace(&format!("\"{GENERATED}\""), "${generated.by.render}");
            assert!(!text.contains(GENERATED), "{}: {text}", it.path);
            (it.path, text)
        });
    crate::brokers::sample::compare("emqx", shown);
}

#[test]
fn secrets_stand_in_secret_files_alone() {
    for file in render(&settings(), &secrets("hunter2")) {
        assert_eq!(file.text.contains("hunter2"), file.secret, "{}", file.path);
    }
}

#[test]
fn nothing_that_is_set_can_break_out_of_its_quotes() {
    let mut odd = settings();
    odd.node_name = "emqx@h\" }\ntelemetry.enable = true # ".to_owned();
    let conf = file(&render(&odd, &secrets("s")), "emqx.conf");
    assert!(
        !conf
            .lines()
            .any(|it| it.trim_start().starts_with("telemetry.enable = true"))
    );
}

#[test]
fn a_cluster_finds_its_nodes_and_a_certificate_says_who_it_is() {
    let mut several = settings();
    several.seeds = vec!["emqx@a".to_owned(), "emqx@b".to_owned()];
    several.tls.clients = ClientCertificates::Required;
    several.database.ca_file = Some("/ca.pem".to_owned());
    several.database.server = "db.example:5432".to_owned();
    let conf = file(&render(&several, &secrets("s")), "emqx.conf");
    for line in [
        r#"discovery_strategy = static, static.seeds = ["emqx@a", "emqx@b"]"#,
        "fail_if_no_peer_cert = true",
        "peer_cert_as_username = cn",
        r#"server_name_indication = "db.example""#,
        "verify = verify_peer",
    ] {
        assert!(conf.contains(line), "{line}:\n{conf}");
    }
    assert!(!conf.contains("listen_address"), "{conf}");
}

/// What `acl.conf` means, by EMQX's own rules for it: the first rule decides
/// whose subject, action and one of whose topic filters match.
#[test]
fn the_rules_give_a_device_its_own_topics_and_nothing_else() {
    let acl = file(&render(&settings(), &secrets("s")), "acl.conf");
    let rules: Vec<&str> = acl.lines().filter(|it| it.starts_with('{')).collect();
    assert!(rules[0].starts_with("{deny, {username, {re, \"[+#/]\"}}"));
    assert!(rules[1].starts_with("{deny, {clientid, {re, \"[+#/]\"}}"));
    assert_eq!(*rules.last().unwrap(), "{deny, all}.");
    let for_all: Vec<&&str> = rules
        .iter()
        .filter(|it| it.starts_with("{allow, all"))
        .collect();
    assert_eq!(for_all.len(), 2, "publish and subscribe");
    for rule in for_all {
        assert!(!rule.contains('#') && !rule.contains("/+/"), "{rule}");
        assert!(
            !rule.contains("publish") || !rule.contains("/cmd"),
            "{rule}"
        );
    }
}

/// EMQX finds a session by its client id alone: with another's id a device
/// would be handed that one's subscriptions, or end a node's session.
#[test]
fn a_session_belongs_to_who_signs_in() {
    let conf = file(&render(&settings(), &secrets("s")), "emqx.conf");
    assert!(conf.contains(r#"clientid_override = "concat([username, ':', clientid])""#));
}

/// Detection of flapping bans a client id before any password is asked for.
#[test]
fn nobody_is_kept_out_by_what_a_stranger_does() {
    let conf = file(&render(&settings(), &secrets("s")), "emqx.conf");
    assert!(conf.contains("flapping_detect { enable = false }"));
}

/// By its defaults EMQX ends a session at 32 MB or 1,000 messages in its
/// mailbox, retains 1,000 messages a second and stops a replay after as many.
#[test]
fn no_default_of_emqx_loses_what_waits_or_is_retained() {
    let conf = file(&render(&settings(), &secrets("s")), "emqx.conf");
    for line in [
        "max_mqueue_len = 1000000",
        "force_shutdown { enable = false }",
        "delivery_rate = infinity, max_publish_rate = infinity",
    ] {
        assert!(conf.contains(line), "{line}:\n{conf}");
    }
}
