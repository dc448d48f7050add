//! What `deploy/` relies on: figures that its dashboard and alerts read, the
//! settings file, and the health check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dormouse::config::Config;
use reqwest::Method;
use serde_json::Value;

use crate::strips::Strips;
use crate::support::{Server, eventually, run};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// The figures of ours that queries in `text` read.
fn figures(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !is_name(c))
        .filter(|word| word.starts_with("dormouse_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// What a server on the embedded engines does not tell.
const BESIDE_POSTGRESQL: [&str; 1] = ["dormouse_intake_aside"];

#[tokio::test]
async fn every_figure_that_dashboard_and_alerts_read_is_told() {
    let dashboard =
        std::fs::read_to_string(deploy().join("grafana/dashboards/dormouse.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut read = figures(
        dashboard["templating"]["list"][0]["query"]["query"]
            .as_str()
            .unwrap(),
    );
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let found = figures(target["expr"].as_str().unwrap());
            assert!(!found.is_empty(), "{target}");
            read.extend(found);
        }
    }
    let rules = std::fs::read_to_string(deploy().join("prometheus/rules.yml")).unwrap();
    read.extend(figures(&rules));
    assert!(read.len() > 25, "{read:?}");
    for elsewhere in BESIDE_POSTGRESQL {
        assert!(read.remove(elsewhere), "{elsewhere}");
    }

    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut strips = Strips::start(&server, 2).await;
    strips.wait_for(50).await;
    strips.finish().await;
    eventually("every figure", async || {
        let (_, text) = server.request(Method::GET, "/metrics", None).await;
        let told: BTreeSet<_> = text
            .as_str()?
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .map(str::to_owned)
            .collect();
        read.is_subset(&told).then_some(())
    })
    .await;
    server.stop().await;
}

#[test]
fn the_nodes_settings_are_good() {
    let path = deploy().join("dormouse.toml");
    let config = Config::load(Some(&path), []).unwrap();
    assert!(config.http.behind_tls);
}

#[tokio::test]
async fn a_running_server_is_asked_how_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let http = server.http();
    for (path, said) in [("/readyz", ""), ("/livez", ""), ("/health", "\"mqtt\"")] {
        let (code, out, err) = run(&["health", "--url", &format!("{http}{path}")]).await;
        assert_eq!(code, 0, "{path}: {err}");
        assert!(out.contains(said), "{path}: {out}");
    }
    let (code, _, err) = run(&[
        "health",
        "--url",
        &format!("{http}/api/v1/devices?token=s3cret"),
    ])
    .await;
    assert_eq!(code, 1);
    assert!(
        err.contains("answers 401") && !err.contains("s3cret"),
        "{err}"
    );
    server.stop().await;
    let (code, _, err) = run(&["health", "--url", &format!("{http}/livez")]).await;
    assert_eq!(code, 1);
    assert!(err.contains("does not answer"), "{err}");
}
