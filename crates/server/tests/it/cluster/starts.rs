//! An engine that cannot be used is named at the start.

use dormouse_testbed::free_port;
use dormouse_testbed::mosquitto::Mosquitto;
use dormouse_testbed::postgres::Postgres;

use crate::support::{Server, run_with};

/// What `dormouse serve` says with these settings; it must refuse.
async fn refusal(settings: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let args = [
        "serve",
        "--data",
        data,
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ];
    let (code, out, err) = run_with(&args, settings).await;
    assert_eq!(code, 1, "{err}");
    assert_eq!(out, "");
    err
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named() {
    let port = free_port().unwrap();
    let nowhere = format!("postgres://me:secret@127.0.0.1:{port}/dormouse");
    let message = refusal(&[("DORMOUSE__DATABASE__URL", &nowhere)]).await;
    assert!(message.contains("database.url"), "{message}");
    assert!(message.contains(&port.to_string()), "{message}");
    assert!(!message.contains("secret"), "{message}");

    let server = Postgres::shared();
    let unknown = format!(
        "postgres://postgres@127.0.0.1:{}/nothing_of_this_name?sslmode=disable",
        server.port()
    );
    let message = refusal(&[("DORMOUSE__DATABASE__URL", &unknown)]).await;
    assert!(message.contains("database.url"), "{message}");
    assert!(message.contains("nothing_of_this_name"), "{message}");
}

#[tokio::test]
async fn a_redis_or_a_broker_that_cannot_be_reached_is_named() {
    let port = free_port().unwrap();
    let redis = format!("redis://127.0.0.1:{port}");
    let message = refusal(&[("DORMOUSE__HOT__URL", &redis)]).await;
    assert!(message.contains("hot.url"), "{message}");
    assert!(message.contains(&port.to_string()), "{message}");

    let broker = format!("mqtt://127.0.0.1:{port}");
    let message = refusal(&[("DORMOUSE__BROKER__URL", &broker)]).await;
    assert!(message.contains("broker.url"), "{message}");
    assert!(message.contains(&port.to_string()), "{message}");
}

#[tokio::test]
async fn a_second_node_needs_all_engines_outside() {
    let database = Postgres::shared().database().unwrap();
    let mosquitto = Mosquitto::start(&Default::default()).unwrap();
    let broker = format!("mqtt://127.0.0.1:{}", mosquitto.port());
    let settings = [
        ("DORMOUSE__DATABASE__URL", database.url.as_str()),
        ("DORMOUSE__BROKER__URL", &broker),
    ];
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start_with(dir.path(), &settings).await;
    let message = refusal(&settings).await;
    assert!(message.contains("another"), "{message}");
    assert!(message.contains("hot.url"), "{message}");
    first.stop().await;
}
