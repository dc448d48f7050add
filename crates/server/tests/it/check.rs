//! `dormouse check` against the broker inside a running server.

use serde_json::Value;

use crate::support::{Server, eventually, run};

#[tokio::test]
async fn the_embedded_broker_is_locked_down() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    let (host, port) = server.mqtt();
    let (url, data) = (
        format!("mqtt://{host}:{port}"),
        folder.path().to_str().unwrap(),
    );
    let args = ["check", "--broker", &url, "--data", data, "--json"];
    let (code, out, err) = run(&args).await;
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let verdicts: Vec<(&str, &str)> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["id"].as_str().unwrap(), it["verdict"].as_str().unwrap()))
        .collect();
    let tried = [
        "own",
        "publish",
        "command",
        "subscribe",
        "client-id.wildcard",
        "client-id.other",
        "client-id.session",
    ];
    for id in tried {
        let id = format!("device.{id}");
        assert!(verdicts.contains(&(&id, "ok")), "{id}: {out}");
    }
    assert!(
        verdicts.iter().all(|it| it.1 == "ok" || it.1 == "skipped"),
        "{out}"
    );

    // Nothing of it is left, and it can be done again.
    eventually("the devices are gone", || async {
        let devices = server.get("/api/v1/devices").await;
        (devices["items"] == serde_json::json!([])).then_some(())
    })
    .await;
    let (code, table, err) = run(&args[..5]).await;
    assert_eq!(code, 0, "{table}{err}");
    assert!(table.contains("ok       stranger.anonymous"), "{table}");
    server.stop().await;

    let (code, _, err) = run(&args).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("cannot be reached"), "{err}");
}
