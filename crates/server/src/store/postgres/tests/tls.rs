//! TLS as the URL asks for it.

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

async fn passwords_and_certificates_sign_in_over_tls(engine: Engine) {
    let server = Server::start(&Options {
        major: Some(engine.major()),
        tls: true,
        hba: Some(
            "hostssl all iot 127.0.0.1/32 scram-sha-256\nhostssl all all 127.0.0.1/32 cert"
                .to_owned(),
        ),
        ..Options::default()
    })
    .unwrap();
    let role = "CREATE ROLE iot LOGIN SUPERUSER PASSWORD 'sesame'";
    server.sql("postgres", role).unwrap();
    let url = server.database().unwrap().url;
    let trust = format!(
        "sslmode=verify-full&sslrootcert={}",
        server.authority().display()
    );
    let by_password = url.replace("postgres@", "iot:sesame@");
    assert!(encrypted(&by_password, &trust).await.unwrap());
    let wrong = url.replace("postgres@", "iot:hunter2@");
    let error = encrypted(&wrong, &trust).await.unwrap_err();
    assert!(matches!(error, OpenError::SignIn { .. }), "{error}");
    let (certificate, key) = server.client_certificate();
    let identity = format!(
        "{trust}&sslcert={}&sslkey={}",
        certificate.display(),
        key.display()
    );
    assert!(encrypted(&url, &identity).await.unwrap());
    let error = encrypted(&url, &trust).await.unwrap_err();
    assert!(matches!(error, OpenError::SignIn { .. }), "{error}");
}
on_every_engine!(
    passwords_and_certificates_sign_in_over_tls: postgresql_16 = Version(16),
    postgresql_17 = Version(17), postgresql_18 = Version(18)
);
