//! What is wrong is said at once, by the name of the setting.

use dormouse_testbed::redis::Options;

use super::*;

async fn error_of(settings: &RedisSettings) -> String {
    Node::open(settings).await.err().unwrap().to_string()
}

#[tokio::test]
async fn nobody_there_and_somebody_else() {
    let mut settings = RedisSettings {
        url: format!(
            "redis://127.0.0.1:{}",
            dormouse_testbed::free_port().unwrap()
        ),
        ..RedisSettings::default()
    };
    let error = error_of(&settings).await;
    assert!(
        error.starts_with("hot.url does not lead to Redis: 127.0.0.1"),
        "{error}"
    );

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings.url = format!("redis://{}", listener.local_addr().unwrap());
    let error = error_of(&settings).await;
    assert!(
        error.starts_with("hot.url "),
        "silence is no answer: {error}"
    );

    let server = server();
    settings.url = format!("redis+cluster://127.0.0.1:{}", server.port());
    let error = error_of(&settings).await;
    assert!(error.starts_with("hot.url "), "{error}");
}

#[tokio::test]
async fn a_wrong_user_a_wrong_password_and_a_missing_right() {
    let server = dormouse_testbed::redis::Redis::with(Options {
        users: vec!["poor on >sesame ~* &* +@all -publish".to_owned()],
        ..Options::default()
    })
    .unwrap();
    let mut settings = RedisSettings {
        url: server.url(),
        ..RedisSettings::default()
    };
    let error = error_of(&settings).await;
    assert!(error.starts_with("hot.password_file is needed"), "{error}");
    settings.url = format!("redis://poor:secret@127.0.0.1:{}", server.port());
    let error = error_of(&settings).await;
    assert!(
        error.starts_with("hot.username and hot.password_file"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
    settings.url = format!("redis://poor:sesame@127.0.0.1:{}", server.port());
    let error = error_of(&settings).await;
    assert!(error.starts_with("hot.username lacks a right"), "{error}");
    assert!(
        error.contains("publish") && error.contains("docs/redis.md"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let (_server, settings) = guarded_server("test:");
    let untrusted = RedisSettings {
        ca_file: None,
        ..settings.clone()
    };
    let error = error_of(&untrusted).await;
    assert!(error.starts_with("hot.url "), "{error}");
    let nobody = RedisSettings {
        certificate_file: None,
        key_file: None,
        ..settings
    };
    let error = error_of(&nobody).await;
    assert!(error.starts_with("hot.url "), "{error}");
}

#[tokio::test]
async fn a_unix_socket_and_another_database_lead_there_too() {
    let server = dormouse_testbed::redis::Redis::with(Options {
        settings: "unixsocket redis.sock\n".to_owned(),
        ..Options::default()
    })
    .unwrap();
    let socket = server.authority().with_file_name("redis.sock");
    let node = Node::at(&format!("redis+unix://{}", socket.display()), "").await;
    assert!(node.redis.probe().is_ok());
    Node::at(&format!("{}/3", server.url()), "").await;
    assert_ne!(server.cli(&["-n", "3", "DBSIZE"]).unwrap(), "0");
}

#[test]
fn the_documented_line_is_the_rule_that_is_tested() {
    let guide = include_str!("../../../../../../docs/redis.md");
    let rule = RULE.lines().collect::<Vec<_>>().join(" ");
    assert!(guide.contains(&format!("ACL SETUSER {rule}\n")), "{rule}");
}
