//! Databases for tests.

use std::sync::Arc;
use std::time::Duration;

use dormouse_testbed::postgres::{Database, Postgres as Server};
use dormouse_testbed::timescale::Timescale;

use super::{Area, DORMOUSE, Postgres, PostgresSettings};
use crate::clock::SystemClock;

/// What a database may have of its own, and should not matter.
const ODD: &str = "ALTER DATABASE %d SET datestyle = 'German';
    ALTER DATABASE %d SET timezone = 'Asia/Kathmandu';
    ALTER DATABASE %d SET intervalstyle = 'sql_standard';
    ALTER DATABASE %d SET bytea_output = 'escape';
    ALTER DATABASE %d SET extra_float_digits = -15;
    ALTER DATABASE %d SET standard_conforming_strings = off;
    ALTER DATABASE %d SET quote_all_identifiers = on;
    ALTER DATABASE %d SET transform_null_equals = on;
    ALTER DATABASE %d SET array_nulls = off;
    ALTER DATABASE %d SET plan_cache_mode = 'force_generic_plan';
    ALTER DATABASE %d SET default_transaction_isolation = 'serializable';
    ALTER DATABASE %d SET default_transaction_deferrable = on;
    ALTER DATABASE %d SET statement_timeout = '2s';
    ALTER DATABASE %d SET lock_timeout = '2s';
    ALTER DATABASE %d SET idle_in_transaction_session_timeout = '2s';
    ALTER DATABASE %d SET idle_session_timeout = '2s';
    ALTER DATABASE %d SET synchronous_commit = off;
    ALTER DATABASE %d SET search_path = nowhere, odd, public;
    CREATE SCHEMA odd";

/// A kind of database that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// PostgreSQL of a version, as it comes.
    Version(u32),
    /// PostgreSQL with Turkish rules and settings of its own.
    Odd,
    /// TimescaleDB.
    Timescale,
}

impl Engine {
    /// The address of an empty database.
    pub(crate) fn url(self) -> String {
        match self {
            Self::Version(major) => Server::of(major).database().unwrap().url,
            Self::Odd => odd().url,
            Self::Timescale => Timescale::shared().schema().unwrap(),
        }
    }

    /// Its version.
    pub(crate) fn major(self) -> u32 {
        match self {
            Self::Version(major) => major,
            Self::Odd | Self::Timescale => panic!("{self:?} is a server of all tests"),
        }
    }

    /// An empty database with our tables.
    pub(crate) async fn open(self) -> Postgres {
        open(self.url(), &[DORMOUSE]).await
    }
}

/// An empty database with settings that should not matter.
pub(crate) fn odd() -> Database {
    let server = Server::shared();
    let turkish = "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR'";
    let database = server.database_with(turkish).unwrap();
    let settings = ODD.replace("%d", &database.name);
    server.sql(&database.name, &settings).unwrap();
    database
}

/// The function `$name`, which takes an [`Engine`], as a test on each of them.
macro_rules! on_every_engine {
    ($name:ident) => {
        on_every_engine!(
            $name: postgresql_15 = Version(15), postgresql_16 = Version(16),
            postgresql_17 = Version(17), postgresql_18 = Version(18), postgresql_odd = Odd,
            timescaledb = Timescale
        );
    };
    ($name:ident: $($test:ident = $kind:ident $(($major:literal))?),+) => {
        mod $name {
            use crate::store::postgres::testing::Engine;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$name(Engine::$kind $(($major))?).await;
            })+
        }
    };
}

pub(crate) use on_every_engine;

/// Settings for `url`.
pub(crate) fn settings(url: impl Into<String>) -> PostgresSettings {
    PostgresSettings {
        url: url.into(),
        password_file: None,
        pool_max: 8,
        connect_timeout: Duration::from_secs(5),
        node: "test".to_owned(),
    }
}

/// Opens `url` and brings `areas` up to date.
pub(crate) async fn open(url: impl Into<String>, areas: &[Area]) -> Postgres {
    let clock = Arc::new(SystemClock::start());
    Postgres::open(&settings(url), clock, areas).await.unwrap()
}

/// An empty database on plain PostgreSQL.
pub(crate) async fn plain() -> Postgres {
    let database = Server::shared().database().unwrap();
    open(database.url, &[DORMOUSE]).await
}
