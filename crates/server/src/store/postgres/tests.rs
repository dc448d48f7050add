//! Opening, refusing, healing.

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::access::Actor;
use dormouse_core::audit::AuditEntry;
use dormouse_core::event::Origin;
use dormouse_core::ports::{AuditQuery, AuditStore, PortError, Setting, SettingStore, UserStore};
use dormouse_testbed::postgres::{Options, Postgres as Server};

use super::testing::{open, plain, settings, timescale};
use super::*;
use crate::clock::SystemClock;

async fn refused(settings: PostgresSettings) -> OpenError {
    let clock = Arc::new(SystemClock::start());
    Postgres::open(&settings, clock, &[DORMOUSE])
        .await
        .unwrap_err()
}

#[tokio::test]
async fn it_opens_twice_and_tells_the_time() {
    for database in [plain().await, timescale().await] {
        database.probe().await.unwrap();
        assert!(database.clock_offset_ms().await.unwrap().abs() < 5_000);
    }
    let url = Server::shared().database().unwrap().url;
    open(url.clone(), &[DORMOUSE]).await;
    open(url, &[DORMOUSE]).await;
}

#[tokio::test]
async fn four_nodes_may_start_at_once() {
    let url = Server::shared().database().unwrap().url;
    let open = || open(url.clone(), &[DORMOUSE]);
    let (one, ..) = tokio::join!(open(), open(), open(), open());
    let sql = "SELECT count(*) FROM dormouse_migrations";
    let count: i64 = one.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(count, i64::try_from(DORMOUSE.migrations.len()).unwrap());
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
async fn it_heals_after_the_server_was_away_and_has_what_was_written() {
    let server = Server::start(&Options {
        fsync: true,
        ..Options::default()
    })
    .unwrap();
    let database = open(server.database().unwrap().url, &[DORMOUSE]).await;
    let settings = PostgresSettingStore::new(database.clone());
    // Several connections, all of which will be dead.
    let (a, b, c) = tokio::join!(database.probe(), database.probe(), database.probe());
    a.and(b).and(c).unwrap();
    for end in [Server::crash, Server::stop] {
        let value = format!("{:?}", database.now().await.unwrap());
        settings
            .set(Setting::JoinMode, value.clone())
            .await
            .unwrap();
        end(&server).unwrap();
        let error = database.probe().await.unwrap_err();
        assert!(matches!(error, PortError::Unavailable(_)), "{error:?}");
        server.run().unwrap();
        assert_eq!(settings.get(Setting::JoinMode).await.unwrap(), Some(value));
    }
}

#[tokio::test]
async fn a_pool_that_is_too_small_makes_callers_wait_not_fail() {
    let url = Server::shared().database().unwrap().url;
    let settings = PostgresSettings {
        pool_max: 1,
        ..settings(url)
    };
    let clock = Arc::new(SystemClock::start());
    let database = Postgres::open(&settings, clock, &[DORMOUSE]).await.unwrap();
    let (a, b, c) = tokio::join!(database.probe(), database.probe(), database.probe());
    a.and(b).and(c).unwrap();
    let name = "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let name: String = database.query_one(name, &[]).await.unwrap().get(0);
    assert_eq!(name, "dormouse/test");
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

mod tls {
    use super::*;

    fn server(hba: &str) -> Server {
        let options = Options {
            tls: true,
            hba: Some(hba.to_owned()),
            ..Options::default()
        };
        Server::start(&options).unwrap()
    }

    /// Opens with `parameters`; says whether the connection was encrypted.
    async fn encrypted(url: &str, parameters: &str) -> Result<bool, OpenError> {
        let url = url.replace("sslmode=disable", parameters);
        let clock = Arc::new(SystemClock::start());
        let database = Postgres::open(&settings(url), clock, &[DORMOUSE]).await?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok(database.query_one(sql, &[]).await.unwrap().get(0))
    }

    #[tokio::test]
    async fn every_mode_means_what_libpq_means() {
        let server = server("host all all 127.0.0.1/32 trust");
        let url = server.database().unwrap().url;
        let by_name = url.replace("127.0.0.1", "localhost");
        let elsewhere = url.replace("127.0.0.1", "other.example") + "&hostaddr=127.0.0.1";
        let right = server.authority().display().to_string();
        let stranger = self::server("host all all 127.0.0.1/32 trust");
        let wrong = stranger.authority().display().to_string();

        for (url, parameters, expected) in [
            (&url, "sslmode=disable".to_owned(), Some(false)),
            (&url, "sslmode=allow".to_owned(), Some(false)),
            (&url, "sslmode=prefer".to_owned(), Some(true)),
            (&url, "sslmode=require".to_owned(), Some(true)),
            (&url, format!("sslmode=require&sslrootcert={wrong}"), None),
            (
                &url,
                format!("sslmode=verify-full&sslrootcert={right}"),
                Some(true),
            ),
            (
                &by_name,
                format!("sslmode=verify-full&sslrootcert={right}"),
                Some(true),
            ),
            (
                &url,
                format!("sslmode=verify-full&sslrootcert={wrong}"),
                None,
            ),
            (&url, "sslmode=verify-full".to_owned(), None),
            (
                &elsewhere,
                format!("sslmode=verify-ca&sslrootcert={right}"),
                Some(true),
            ),
            (
                &elsewhere,
                format!("sslmode=verify-full&sslrootcert={right}"),
                None,
            ),
            (
                &elsewhere,
                format!("sslmode=verify-ca&sslrootcert={wrong}"),
                None,
            ),
        ] {
            let opened = encrypted(url, &parameters).await;
            match (&opened, expected) {
                (Ok(found), Some(expected)) => assert_eq!(*found, expected, "{parameters}"),
                (Err(OpenError::Tls { .. }), None) => {}
                _ => panic!("{url} {parameters}: {opened:?}"),
            }
        }
        let error = encrypted(&url, "sslmode=verify-full&sslrootcert=/nowhere.pem").await;
        assert!(matches!(error, Err(OpenError::File { .. })), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_without_tls_is_refused_where_tls_is_required() {
        let url = Server::shared().database().unwrap().url;
        assert!(!encrypted(&url, "sslmode=prefer").await.unwrap());
        let error = encrypted(&url, "sslmode=require").await.unwrap_err();
        assert!(matches!(error, OpenError::Tls { .. }), "{error}");
    }

    #[tokio::test]
    async fn allow_gives_in_to_a_server_that_insists() {
        let server = server("hostssl all all 127.0.0.1/32 trust");
        let url = server.database().unwrap().url;
        assert!(encrypted(&url, "sslmode=allow").await.unwrap());
        let error = encrypted(&url, "sslmode=disable").await.unwrap_err();
        assert!(matches!(error, OpenError::SignIn { .. }), "{error}");
    }

    #[tokio::test]
    async fn our_certificate_signs_us_in() {
        let server = server("hostssl all all 127.0.0.1/32 cert");
        let url = server.database().unwrap().url;
        let (certificate, key) = server.client_certificate();
        let with = format!(
            "sslmode=require&sslcert={}&sslkey={}",
            certificate.display(),
            key.display()
        );
        assert!(encrypted(&url, &with).await.unwrap());
        let error = encrypted(&url, "sslmode=require").await.unwrap_err();
        assert!(matches!(error, OpenError::SignIn { .. }), "{error}");
    }
}
