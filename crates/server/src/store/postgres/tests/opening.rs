//! What a server must be, and what is said where it is not.

use super::*;

async fn it_opens_twice_and_tells_the_time(engine: Engine) {
    let url = engine.url();
    open(url.clone(), &[DORMOUSE]).await;
    let database = open(url, &[DORMOUSE]).await;
    database.probe().await.unwrap();
    assert!(database.clock_offset_ms().await.unwrap().abs() < 5_000);
}
on_every_engine!(it_opens_twice_and_tells_the_time);

async fn four_nodes_may_start_at_once(engine: Engine) {
    let url = engine.url();
    let open = || open(url.clone(), &[DORMOUSE]);
    let (one, ..) = tokio::join!(open(), open(), open(), open());
    let sql = "SELECT count(*) FROM dormouse_migrations";
    let count: i64 = one.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(count, i64::try_from(DORMOUSE.migrations.len()).unwrap());
}
on_every_engine!(
    four_nodes_may_start_at_once: postgresql_15 = Version(15), postgresql_16 = Version(16),
    postgresql_17 = Version(17), postgresql_18 = Version(18), postgresql_odd = Odd
);

#[tokio::test]
async fn settings_of_the_database_give_way_and_those_of_the_url_stay() {
    let database = odd();
    let db = open(database.url.clone(), &[DORMOUSE]).await;
    for (name, expected) in [
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "15s"),
        ("idle_session_timeout", "0"),
        ("timezone", "UTC"),
        ("default_transaction_isolation", "read committed"),
        ("synchronous_commit", "on"),
    ] {
        assert_eq!(text(&db, &format!("SHOW {name}")).await, expected, "{name}");
    }
    let more = format!(
        "ALTER DATABASE {} SET synchronous_commit = local",
        database.name
    );
    Server::shared().sql(&database.name, &more).unwrap();
    let own = "options=-cstatement_timeout%3D7s%20-csearch_path%3Dodd";
    let db = open(format!("{}&{own}", database.url), &[DORMOUSE]).await;
    assert_eq!(text(&db, "SHOW statement_timeout").await, "7s");
    assert_eq!(text(&db, "SHOW synchronous_commit").await, "local");
    assert_eq!(text(&db, "SHOW search_path").await, "odd");
}

#[tokio::test]
async fn a_proxy_that_pools_by_session_may_be_in_between() {
    let server = Server::shared();
    let proxy = PgBouncer::start(server).unwrap();
    let url = server.database().unwrap().url;
    let url = url.replace(
        &format!(":{}/", server.port()),
        &format!(":{}/", proxy.port()),
    );
    let db = open(url.clone(), &[DORMOUSE]).await;
    db.probe().await.unwrap();
    assert_eq!(text(&db, "SHOW statement_timeout").await, "30s");
    dormouse_core::contract::device_store(&PostgresDevices::new(db)).await;
    // That one refuses what it does not know.
    let error = refused(settings(format!("{url}&currentSchema=public"))).await;
    assert!(error.to_string().contains("options"), "{error}");
}

#[tokio::test]
async fn what_cannot_keep_every_text_and_another_isolation_are_refused() {
    let server = Server::shared();
    let latin = server.database_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    let error = refused(settings(latin.unwrap().url)).await;
    assert!(matches!(error, OpenError::Encoding { .. }), "{error}");
    assert!(error.to_string().contains("LATIN1"), "{error}");

    let url = server.database().unwrap().url;
    let strict = "options=-cdefault_transaction_isolation%3Dserializable";
    let error = refused(settings(format!("{url}&{strict}"))).await;
    assert!(matches!(error, OpenError::Isolation { .. }), "{error}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let port = dormouse_testbed::free_port().unwrap();
    let error = refused(settings(format!(
        "postgres://u:hunter2@127.0.0.1:{port}/site"
    )))
    .await;
    let message = error.to_string();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{message}");
    assert!(
        message.contains(&format!("127.0.0.1:{port}/site")),
        "{message}"
    );
    assert!(message.contains("refused"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let settings = PostgresSettings {
        connect_timeout: Duration::from_millis(200),
        ..settings(format!("postgres://u@127.0.0.1:{port}/site"))
    };
    let error = refused(settings).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("no answer"), "{error}");
}

#[tokio::test]
async fn an_unknown_database_is_named() {
    let url = Server::shared().database().unwrap().url;
    let error = refused(settings(url.replace("/test_", "/nothing_"))).await;
    assert!(matches!(error, OpenError::NoDatabase { .. }), "{error}");
}

#[tokio::test]
async fn missing_rights_and_schemas_are_named() {
    let server = Server::shared();
    let database = server.database().unwrap();
    let poor = "CREATE ROLE poor LOGIN; CREATE SCHEMA iot";
    server.sql(&database.name, poor).unwrap();
    let url = database.url.replace("postgres@", "poor@");
    let error = refused(settings(url.clone())).await;
    assert!(matches!(error, OpenError::NoRights { .. }), "{error}");
    assert!(error.to_string().contains("TO poor"), "{error}");

    let error = refused(settings(format!("{url}&currentSchema=nowhere"))).await;
    assert!(matches!(error, OpenError::NoSchema { .. }), "{error}");

    let shut = format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", database.name);
    server.sql(&database.name, &shut).unwrap();
    let error = refused(settings(url.clone())).await;
    assert!(error.to_string().contains("CONNECT"), "{error}");
    let open_again = format!("GRANT CONNECT ON DATABASE {} TO poor", database.name);
    server.sql(&database.name, &open_again).unwrap();

    let grant = "GRANT CREATE, USAGE ON SCHEMA iot TO poor";
    server.sql(&database.name, grant).unwrap();
    open(format!("{url}&currentSchema=iot"), &[DORMOUSE]).await;
    let tables = "SELECT count(*) FROM iot.devices";
    assert_eq!(server.sql(&database.name, tables).unwrap(), "0");
}

#[tokio::test]
async fn a_newer_schema_and_a_broken_migration_are_refused() {
    let database = Server::shared().database().unwrap();
    open(database.url.clone(), &[DORMOUSE]).await;
    let clock = Arc::new(SystemClock::start());
    let older = Area {
        migrations: &DORMOUSE.migrations[..1],
        ..DORMOUSE
    };
    let opened = Postgres::open(&settings(database.url.clone()), clock.clone(), &[older]).await;
    let error = opened.unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { known: 1, .. }),
        "{error}"
    );

    let broken = Area {
        name: "broken",
        migrations: &[Migration {
            name: "0001_broken",
            work: Work::Sql("CREATE TABLE half (x int); CREATE TABLE devices (x int)"),
            breaking: false,
        }],
    };
    let opened = Postgres::open(&settings(database.url), clock, &[broken]).await;
    let message = opened.unwrap_err().to_string();
    assert!(message.contains("broken/0001_broken"), "{message}");
    let half = "SELECT count(*) FROM pg_class WHERE relname = 'half'";
    let count = Server::shared().sql(&database.name, half).unwrap();
    assert_eq!(count, "0");
}

#[tokio::test]
async fn the_version_before_runs_on_a_schema_that_only_grew() {
    const ONE: Migration = Migration {
        name: "0001_one",
        work: Work::Sql("CREATE TABLE one (x int)"),
        breaking: true,
    };
    const GROWN: Migration = Migration {
        name: "0002_grown",
        work: Work::Sql("ALTER TABLE one ADD y int"),
        breaking: false,
    };
    const SHRUNK: Migration = Migration {
        name: "0003_shrunk",
        work: Work::Sql("ALTER TABLE one DROP x"),
        breaking: true,
    };
    let url = Server::shared().database().unwrap().url;
    let with = async |migrations| {
        let name = "site";
        let areas = [Area { name, migrations }];
        let clock = Arc::new(SystemClock::start());
        Postgres::open(&settings(url.clone()), clock, &areas).await
    };
    with(&[ONE, GROWN]).await.unwrap();
    with(&[ONE]).await.unwrap();
    with(&[ONE, GROWN, SHRUNK]).await.unwrap();
    let error = with(&[ONE, GROWN]).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn a_standby_is_refused() {
    let url = Server::shared().database().unwrap().url;
    let url = format!("{url}&options=-cdefault_transaction_read_only%3Don");
    let error = refused(settings(url)).await;
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
}

#[tokio::test]
async fn passwords_come_from_the_url_or_a_file_and_wrong_ones_are_refused() {
    let options = Options {
        hba: Some("host all all 127.0.0.1/32 scram-sha-256".to_owned()),
        ..Options::default()
    };
    let server = Server::start(&options).unwrap();
    let url = server.database().unwrap().url;
    let role = "CREATE ROLE iot LOGIN SUPERUSER PASSWORD 'open sesame'";
    server.sql("postgres", role).unwrap();
    let with = |user: &str| url.replace("postgres@", &format!("{user}@"));

    open(with("iot:open%20sesame"), &[DORMOUSE]).await;
    for user in ["iot:hunter2", "iot", "nobody:hunter2"] {
        let error = refused(settings(with(user))).await;
        assert!(matches!(error, OpenError::SignIn { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut settings = settings(with("iot"));
    settings.password_file = Some(file.path().to_owned());
    let error = refused(settings.clone()).await;
    assert!(error.to_string().contains("password_file"), "{error}");
    std::fs::write(file.path(), "open sesame\n").unwrap();
    let clock = Arc::new(SystemClock::start());
    let database = Postgres::open(&settings, clock, &[DORMOUSE]).await.unwrap();
    assert!(!format!("{database:?}").contains("sesame"));
}

#[tokio::test]
async fn null_characters_are_kept_as_replacements() {
    let database = plain().await;
    let audit = PostgresAudit::new(database.clone());
    let entry = AuditEntry {
        id: uuid::Uuid::now_v7(),
        ts: database.now().await.unwrap(),
        actor: Actor {
            origin: Origin::User {
                name: "a\0b".to_owned(),
            },
            address: None,
        },
        action: "user.sign-in".into(),
        target: "user:a\0b".to_owned(),
        data: serde_json::json!({ "said": "c\0d" }),
    };
    audit.append(vec![entry.clone()]).await.unwrap();
    let query = AuditQuery {
        actor: Some("a\0b".to_owned()),
        limit: 10,
        ..AuditQuery::default()
    };
    let kept = audit.query(query).await.unwrap().remove(0);
    assert_eq!(kept.target, "user:a\u{fffd}b");
    assert_eq!(kept.data, entry.data);
    let people = PostgresPeople::new(database);
    assert_eq!(people.by_name("a\0b").await.unwrap(), None);
}
