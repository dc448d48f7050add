//! `dormouse migrate`, as people run it.

use dormouse_testbed::postgres::Postgres;

use crate::strips::Strips;
use crate::support::{Server, run};

#[tokio::test]
async fn a_stopped_server_is_moved_and_a_running_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut strips = Strips::start(&server, 4).await;
    strips.wait_for(500).await;
    strips.finish().await;
    let samples = strips.acknowledged();
    let from = format!("sqlite:{}", dir.path().display());
    let to = Postgres::shared().database().unwrap().url;
    let args = ["migrate", "--from", &from, "--to", &to];
    let (code, out, err) = run(&args).await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("another Dormouse runs"), "{err}");

    server.stop().await;
    let (code, out, err) = run(&args).await;
    assert_eq!(code, 0, "{err}");
    let row = out
        .lines()
        .find(|line| line.starts_with("samples "))
        .unwrap();
    let rows: usize = row.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(rows, samples, "{out}");
    assert!(out.contains("samples of 4 devices"), "{out}");
    assert!(err.contains("put") && err.contains("away"), "{err}");

    let (code, _, err) = run(&args).await;
    assert_eq!(code, 1);
    assert!(err.contains("moved into this database already"), "{err}");
}

#[tokio::test]
async fn ways_that_do_not_exist_are_refused() {
    for (from, to, expected) in [
        (
            "postgres://db/d",
            "sqlite:data",
            "cannot be moved away from PostgreSQL",
        ),
        ("data", "postgres://db/d", "name the site's folder"),
        ("sqlite:", "postgres://db/d", "name the site's folder"),
        ("sqlite:data", "mysql://db/d", "name a PostgreSQL database"),
    ] {
        let (code, _, err) = run(&["migrate", "--from", from, "--to", to]).await;
        assert_eq!(code, 1);
        assert!(err.contains(expected), "{err}");
    }
}
