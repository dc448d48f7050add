//! What was acknowledged is in the history, once, whatever happens.

use std::path::Path;
use std::time::Duration;

use rand::Rng;
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::strips::Strips;
use crate::support::{PATIENCE, Server, eventually};

const MIB: u64 = 1 << 20;
const SMALL_JOURNAL: (&str, &str) = ("DORMOUSE__JOURNAL__SIZE_MIB", "1");

#[tokio::test]
async fn killed_at_random_moments_it_keeps_every_acknowledged_sample_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path()).await;
    let mut strips = Strips::start(&server, 24).await;
    for _ in 0..5 {
        strips.wait_for(500).await;
        let moment = rand::rng().random_range(0..700);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        server.kill().await;
        strips.lose_server();
        server = Server::start(dir.path()).await;
        strips.find_server(&server);
    }
    strips.wait_for(500).await;
    strips.finish().await;
    strips.account(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn with_its_databases_locked_it_acknowledges_from_the_journal_until_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with(dir.path(), &[SMALL_JOURNAL]).await;
    let mut strips = Strips::start(&server, 12).await;
    strips.wait_for(500).await;
    let locks = lock_databases(dir.path());
    strips.wait_for(2000).await;
    strips.wait_for_standstill().await;
    eventually("health to say that the journal is full", async || {
        let (_, health) = health(&server).await;
        (health["parts"]["journal"]["state"] == "down").then_some(())
    })
    .await;
    drop(locks);
    strips.wait_for(2000).await;
    strips.finish().await;
    strips.account(&server).await;
    eventually("health to be good again", async || {
        let (status, _) = health(&server).await;
        status.is_success().then_some(())
    })
    .await;
    server.stop().await;
}

#[tokio::test]
async fn killed_while_its_databases_are_locked_it_keeps_every_acknowledged_sample_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let mut strips = Strips::start(&server, 12).await;
    strips.wait_for(500).await;
    let locks = lock_databases(dir.path());
    strips.wait_for(3000).await;
    server.kill().await;
    strips.lose_server();
    drop(locks);
    let server = Server::start(dir.path()).await;
    strips.find_server(&server);
    strips.wait_for(500).await;
    strips.finish().await;
    strips.account(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn killed_while_its_disk_is_full_it_keeps_every_acknowledged_sample_once() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut strips) = with_its_disk_full(dir.path()).await;
    strips.wait_for(1000).await;
    strips.wait_for_standstill().await;
    server.kill().await;
    strips.lose_server();

    let server = Server::start(dir.path()).await;
    strips.find_server(&server);
    strips.wait_for(500).await;
    strips.finish().await;
    strips.account(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn when_its_disk_has_room_again_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (server, mut strips) = with_its_disk_full(dir.path()).await;
    strips.wait_for_standstill().await;
    limit_file_size(&server, None);
    strips.wait_for(2000).await;
    strips.finish().await;
    strips.account(&server).await;
    server.stop().await;
}

/// Locks the databases behind the journal until the locks are dropped.
fn lock_databases(data: &Path) -> [Connection; 2] {
    ["history.db", "dormouse.db"].map(|name| {
        let database = Connection::open(data.join(name)).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        database.execute_batch("BEGIN EXCLUSIVE").unwrap();
        database
    })
}

/// A server whose files may not grow any more, but for the journal, which has
/// its space; strips go on reporting to it.
async fn with_its_disk_full(data: &Path) -> (Server, Strips) {
    let server = Server::start_ignoring_file_limit(data, &[SMALL_JOURNAL]).await;
    let strips = Strips::start(&server, 12).await;
    let log = data.join("history.db-wal");
    eventually("the database's log to outgrow the journal", async || {
        (std::fs::metadata(&log).ok()?.len() > 2 * MIB).then_some(())
    })
    .await;
    limit_file_size(&server, Some(MIB + 8192));
    (server, strips)
}

async fn health(server: &Server) -> (StatusCode, Value) {
    server.request(Method::GET, "/health", None).await
}

/// Writing beyond `bytes` of any file fails from now on, as on a full disk.
fn limit_file_size(server: &Server, bytes: Option<u64>) {
    let pid = Pid::from_raw(server.pid().cast_signed()).unwrap();
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(Some(pid), Resource::Fsize, limit).unwrap();
}
