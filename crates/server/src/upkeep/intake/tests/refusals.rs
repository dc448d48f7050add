//! A PostgreSQL that answers, but takes nothing in.

use dormouse_testbed::postgres::Postgres as Server;

use super::postgres::{Node, Note, Sheet, Site};
use super::*;

/// Probes until the answer is `wanted`, with these words.
async fn told(node: &Node, wanted: Result<(), &str>) {
    let fits = async || match (node.db.probe().await, wanted) {
        (Ok(()), Ok(())) => true,
        (Err(PortError::Unavailable(error)), Err(words)) => error.to_string().contains(words),
        _ => false,
    };
    let look = async {
        while !fits().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(DEADLINE, look).await.is_ok(), "{wanted:?}");
}

/// Samples come before, while and after the database refuses: from `breaks`
/// to `mends`, SQL in which `%d` is the database. It says `words` meanwhile.
async fn nothing_is_lost_while_it_refuses(breaks: &[&str], mends: &[&str], words: &str) {
    let server = Server::shared();
    let database = server.database().unwrap();
    let run = |transactions: &[&str]| {
        for sql in transactions {
            let sql = sql.replace("%d", &database.name);
            server.sql(&database.name, &sql).unwrap();
        }
    };
    let site = Site::at(database.url.clone()).await;
    let node = Node::start(&site, 1).await;
    let sheet = Sheet::default();
    let mut sent = 0;
    let mut send = |count: u32| {
        for _ in 0..count {
            sent += 1;
            let body = format!(r#"{{"powerW":{sent}}}"#);
            let note = Box::new(Note(sheet.clone(), (0, sent)));
            node.send(site.key(0), Channel::Telemetry, &body, note);
        }
    };
    let acknowledged = |count: usize| {
        let sheet = sheet.clone();
        move || sheet.0.lock().unwrap().len() >= count
    };
    send(50);
    until("committed", acknowledged(50)).await;
    told(&node, Ok(())).await;
    run(breaks);
    send(50);
    until("journalled", acknowledged(100)).await;
    assert!(!node.committer.figures().direct);
    told(&node, Err(words)).await;
    run(mends);
    told(&node, Ok(())).await;
    until("replayed", || node.committer.figures().direct).await;
    send(50);
    until("committed again", acknowledged(150)).await;
    until("kept", || node.committer.figures().waiting == 0).await;
    let expected: Vec<i32> = (1..=150).map(|n| n * 10).collect();
    assert_eq!(site.powers(0).await, expected);
    node.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_turns_samples_aside_until_there_is_room() {
    nothing_is_lost_while_it_refuses(
        &[
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100';
         END $$;
         CREATE TRIGGER full_disk BEFORE UPDATE ON intake
             FOR EACH STATEMENT EXECUTE FUNCTION no_room()",
        ],
        &["DROP TRIGGER full_disk ON intake"],
        "takes no samples: could not extend file",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_turns_read_only_turns_samples_aside() {
    nothing_is_lost_while_it_refuses(
        &[
            "ALTER DATABASE %d SET default_transaction_read_only = on",
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
             WHERE datname = '%d' AND pid <> pg_backend_pid()",
        ],
        &["BEGIN READ WRITE; ALTER DATABASE %d RESET default_transaction_read_only; COMMIT"],
        "is read-only",
    )
    .await;
}
