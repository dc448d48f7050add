//! Backups taken while strips publish, and what is left of them after a restore.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rusqlite::Connection;
use tokio::process::Command;

use crate::strips::Strips;
use crate::support::{DORMOUSE, Server, run};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn back_up(data: &Path, to: &Path) -> (i32, String) {
    let args = ["backup", "--data", text(data), "--to", text(to)];
    let (code, out, err) = run(&args).await;
    assert_eq!(out, "", "nothing but an archive belongs on standard output");
    (code, err)
}

async fn restore(from: &Path, data: &Path) -> (i32, String) {
    let args = ["restore", "--from", text(from), "--data", text(data)];
    let (code, _, err) = run(&args).await;
    (code, err)
}

/// What is in a folder beside `known` files.
fn others(folder: &Path, known: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let known = |path: &PathBuf| known.iter().any(|it| path.ends_with(it));
    paths.filter(|path| !known(path)).collect()
}

#[tokio::test]
async fn a_backup_under_load_holds_all_that_was_acknowledged_before_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backups) = (dir.path().join("data"), dir.path().join("backups"));
    std::fs::create_dir(&backups).unwrap();
    let server = Server::start(&data).await;
    let mut strips = Strips::start(&server, 24).await;
    let mut taken = Vec::new();
    for n in 0..3 {
        strips.wait_for(2000).await;
        let told = strips.told();
        let archive = backups.join(format!("{n}.tar.zst"));
        let (code, err) = back_up(&data, &archive).await;
        assert_eq!(code, 0, "{err}");
        taken.push((archive, told));
    }
    assert_eq!(
        others(&backups, &["0.tar.zst", "1.tar.zst", "2.tar.zst"]),
        Vec::<PathBuf>::new()
    );
    strips.finish().await;
    strips.account(&server).await;
    server.stop().await;

    for (n, (archive, told)) in taken.iter().enumerate() {
        let (code, _, err) = run(&["backup", "--verify", text(archive)]).await;
        assert_eq!(code, 0, "{err}");
        let data = dir.path().join(format!("restored-{n}"));
        let (code, err) = restore(archive, &data).await;
        assert_eq!(code, 0, "{err}");
        for name in ["dormouse.db", "commands.db", "history.db"] {
            let db = Connection::open(data.join(name)).unwrap();
            let sound: String = db
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(sound, "ok", "{name}");
        }
        let server = Server::start(&data).await;
        strips.account_for(&server, told).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn an_archive_goes_through_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data).await;
    server.add_device("A-302-strip01", 2).await;
    let mut child = Command::new(DORMOUSE)
        .args(["backup", "--data", text(&data), "--to", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pipe: Stdio = child.stdout.take().unwrap().try_into().unwrap();
    let restored = dir.path().join("restored");
    let status = Command::new(DORMOUSE)
        .args(["restore", "--from", "-", "--data", text(&restored)])
        .stdin(pipe)
        .stderr(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(status.success() && child.wait().await.unwrap().success());
    server.stop().await;
    let server = Server::start(&restored).await;
    server.get("/api/v1/devices/A-302-strip01").await;
    server.stop().await;
}

#[tokio::test]
async fn an_archive_is_replaced_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    Server::start(&data).await.stop().await;
    let archive = dir.path().join("site.tar.zst");
    std::fs::write(&archive, "somebody's").unwrap();
    let (code, err) = back_up(&data, &archive).await;
    assert_eq!(code, 1);
    assert!(err.contains("--force replaces it"), "{err}");
    assert_eq!(std::fs::read(&archive).unwrap(), b"somebody's");
    let args = [
        "backup",
        "--data",
        text(&data),
        "--to",
        text(&archive),
        "--force",
    ];
    let (code, _, err) = run(&args).await;
    assert_eq!(code, 0, "{err}");
    let (code, err) = restore(&archive, &data).await;
    assert_eq!(code, 1);
    assert!(err.contains("is not empty"), "{err}");
    let (code, _, err) = run(&["backup", "--data", text(dir.path()), "--to", "-"]).await;
    assert_eq!(code, 1);
    assert!(err.contains("there is no site in"), "{err}");
}

#[tokio::test]
async fn on_a_full_disk_it_says_so_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, backups) = (dir.path().join("data"), dir.path().join("backups"));
    std::fs::create_dir(&backups).unwrap();
    let server = Server::start(&data).await;
    for n in 0..40 {
        server.add_device(&format!("strip-{n}"), 8).await;
    }
    server.stop().await;
    // Files may grow to 64 KiB: less than any of the databases.
    let script = r#"trap "" XFSZ; ulimit -f 64; exec "$0" "$@""#;
    let out = Command::new("bash")
        .args(["-c", script, DORMOUSE, "backup", "--data", text(&data)])
        .args(["--to", text(&backups.join("site.tar.zst"))])
        .output()
        .await
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(err.starts_with("dormouse: "), "{err}");
    assert_eq!(others(&backups, &[]), Vec::<PathBuf>::new(), "{err}");

    let archive = backups.join("site.tar.zst");
    assert_eq!(back_up(&data, &archive).await.0, 0);
    let restored = dir.path().join("restored");
    let out = Command::new("bash")
        .args(["-c", script, DORMOUSE, "restore", "--from", text(&archive)])
        .args(["--data", text(&restored)])
        .output()
        .await
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(err.contains("writing "), "{err}");
    assert_eq!(
        others(&restored, &["dormouse.lock"]),
        Vec::<PathBuf>::new(),
        "{err}"
    );
    assert_eq!(restore(&archive, &restored).await.0, 0);
}
