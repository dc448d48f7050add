//! Starting, stopping, and wrong arguments.

use crate::support::{Server, run};

#[tokio::test]
async fn it_starts_empty_answers_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let health = server.get("/health").await;
    assert_eq!(health["mqtt"], "connected", "{health}");
    assert_eq!(health["redis"], "ok", "{health}");
    assert_eq!(health["db"], "ok", "{health}");
    server.stop().await;
    Server::start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_data_refuses_to_start() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let data = dir.path().to_str().unwrap();
    let (code, out, err) = run(&[
        "serve",
        "--data",
        data,
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ])
    .await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("another Dormouse"), "{err}");
    server.stop().await;
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    for (args, code, expected) in [
        (&["serve", "--htp", "x"][..], 2, "--htp"),
        (&["serve", "--http", "nowhere"], 2, "nowhere"),
        (
            &["serve", "--config", "/nonexistent.toml"],
            1,
            "/nonexistent.toml",
        ),
        (&["fly"], 2, "fly"),
    ] {
        let (status, out, err) = run(args).await;
        assert_eq!(status, code, "{args:?}: {err}");
        assert_eq!(out, "", "{args:?}");
        assert!(err.contains(expected), "{args:?}: {err}");
    }
}
