//! What goes on while the server goes away, is full, or takes no writes.

use super::*;

async fn it_heals_after_the_server_was_away_and_has_what_was_written(engine: Engine) {
    let server = Server::start(&Options {
        major: Some(engine.major()),
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
on_every_engine!(
    it_heals_after_the_server_was_away_and_has_what_was_written: postgresql_15 = Version(15),
    postgresql_16 = Version(16), postgresql_17 = Version(17), postgresql_18 = Version(18)
);

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

/// A role that may do all in the database `name`, with `limit` connections.
fn limited(name: &str, limit: u32) -> String {
    let role = format!("role_of_{name}");
    let make = format!(
        "CREATE ROLE {role} LOGIN CONNECTION LIMIT {limit};
         GRANT ALL ON SCHEMA public TO {role}"
    );
    Server::shared().sql(name, &make).unwrap();
    role
}

#[tokio::test]
async fn where_the_server_lets_few_connections_in_callers_share_them() {
    let database = Server::shared().database().unwrap();
    let role = limited(&database.name, 2);
    let db = open(
        database.url.replace("postgres@", &format!("{role}@")),
        &[DORMOUSE],
    )
    .await;
    let sleeps = (0..40).map(|_| db.query("SELECT pg_sleep(0.01)", &[]));
    for done in futures_util::future::join_all(sleeps).await {
        done.unwrap();
    }
    let none = format!("ALTER ROLE {role} CONNECTION LIMIT 0");
    Server::shared().sql(&database.name, &none).unwrap();
    let url = database.url.replace("postgres@", &format!("{role}@"));
    let error = refused(settings(url)).await;
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains("too many connections"),
        "{error}"
    );
}

#[tokio::test]
async fn a_database_that_turns_read_only_is_told_and_taken_up_again() {
    let server = Server::shared();
    let database = server.database().unwrap();
    let db = open(database.url, &[DORMOUSE]).await;
    let settings = PostgresSettingStore::new(db.clone());
    let name = &database.name;
    db.probe().await.unwrap();
    let turn = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    server.sql("postgres", &turn).unwrap();
    let end = format!(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
         WHERE datname = '{name}'"
    );
    server.sql("postgres", &end).unwrap();
    let write = async || settings.set(Setting::JoinMode, "open".to_owned()).await;
    let refusal = loop {
        // The ended connections are found out one by one.
        let error = write().await.unwrap_err();
        let PortError::Unavailable(why) = error else {
            panic!("{error:?}")
        };
        if why.to_string().contains("read-only") {
            break why;
        }
    };
    assert!(refusal.to_string().contains("read-only"), "{refusal}");
    let PortError::Unavailable(why) = db.probe().await.unwrap_err() else {
        panic!("not unavailable")
    };
    assert!(why.to_string().starts_with("is read-only"), "{why}");

    // Connections that were read-only have been given up.
    let back = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    server.sql("postgres", &back).unwrap();
    db.probe().await.unwrap();
    write().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_met_another_is_tried_again() {
    let database = Server::shared().database().unwrap();
    let db = open(database.url, &[DORMOUSE]).await;
    let clash = "CREATE SEQUENCE tries;
        CREATE FUNCTION clash(times int8) RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= times THEN
                RAISE 'two of a kind' USING ERRCODE = '40P01';
            END IF;
            RETURN currval('tries');
        END $$";
    Server::shared().sql(&database.name, clash).unwrap();
    let tries = async |times: i64| db.query_one("SELECT clash($1)", &[&times]).await;
    assert_eq!(tries(2).await.unwrap().get::<_, i64>(0), 3);
    let error = tries(i64::MAX).await.unwrap_err();
    assert!(matches!(error, PortError::Unavailable(_)), "{error:?}");
    assert_eq!(text(&db, "SELECT last_value::text FROM tries").await, "6");
}
