//! Why a PostgreSQL database cannot be used, in words that say what to do.

use tokio_postgres::error::SqlState;

/// Why the database could not be opened. No password is in any message.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL itself.
    #[error("database.url is not usable: {0}")]
    Url(String),
    /// A file named by a setting.
    #[error("cannot use the file {path} that {setting} names: {why}")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing answers there.
    #[error(
        "database.url: cannot reach PostgreSQL at {tried}: {why}; check that it runs, and host and port"
    )]
    Unreachable {
        /// Host, port and database.
        tried: String,
        /// The system's own words.
        why: String,
    },
    /// TLS failed.
    #[error(
        "database.url: no TLS with PostgreSQL at {tried}: {why}; check sslmode and sslrootcert in the URL, and the server's certificate"
    )]
    Tls {
        /// Host, port and database.
        tried: String,
        /// What went wrong.
        why: String,
    },
    /// The server does not let us in.
    #[error(
        "database.url: PostgreSQL at {tried} refused the sign-in: {why}; check the user, database.password_file, the role's right to CONNECT, and the server's pg_hba.conf"
    )]
    SignIn {
        /// Host, port and database.
        tried: String,
        /// The server's own words.
        why: String,
    },
    /// There is no such database.
    #[error(
        "database.url: PostgreSQL at {tried} has no such database; make it with: CREATE DATABASE … OWNER …"
    )]
    NoDatabase {
        /// Host, port and database.
        tried: String,
    },
    /// The server is too old.
    #[error(
        "database.url: PostgreSQL at {tried} is version {found}; Dormouse needs 15 or later: upgrade the server"
    )]
    TooOld {
        /// Host, port and database.
        tried: String,
        /// Its version.
        found: String,
    },
    /// The server takes no writes.
    #[error(
        "database.url: PostgreSQL at {tried} is read-only (a standby?); name the primary, or add target_session_attrs=read-write to the URL"
    )]
    ReadOnly {
        /// Host, port and database.
        tried: String,
    },
    /// No schema to make tables in.
    #[error(
        "database.url: no schema on the search path ({path}) exists at {tried}; make it with CREATE SCHEMA, or correct currentSchema in the URL"
    )]
    NoSchema {
        /// Host, port and database.
        tried: String,
        /// The search path.
        path: String,
    },
    /// Tables may not be made.
    #[error(
        "database.url: the role {role} may not create tables in schema {schema} at {tried}; allow it with: GRANT CREATE, USAGE ON SCHEMA {schema} TO {role}"
    )]
    NoRights {
        /// Host, port and database.
        tried: String,
        /// Our role.
        role: String,
        /// The schema.
        schema: String,
    },
    /// A site was moved here, but not to the end.
    #[error(
        "the database at {tried} holds part of a site: take `dormouse migrate` up again, or empty the database"
    )]
    HalfMoved {
        /// Host, port and database.
        tried: String,
    },
    /// The tables were made by a newer Dormouse.
    #[error(
        "the database at {tried} has schema {area} {found}, this Dormouse knows up to {known}: start the newer version, or restore a backup"
    )]
    Newer {
        /// Host, port and database.
        tried: String,
        /// Which part of the schema.
        area: &'static str,
        /// The number found.
        found: usize,
        /// The highest number known.
        known: usize,
    },
    /// A migration failed; the database is as it was before that migration.
    #[error("migration {area}/{name} failed at {tried}: {why}")]
    Migration {
        /// Host, port and database.
        tried: String,
        /// Which part of the schema.
        area: &'static str,
        /// The migration.
        name: &'static str,
        /// The server's own words.
        why: String,
    },
    /// Something else went wrong while it was opened.
    #[error("cannot open the database at {tried}: {why}")]
    Failed {
        /// Host, port and database.
        tried: String,
        /// The server's own words.
        why: String,
    },
}

/// The error for a connection to `tried` that failed.
pub(super) fn not_connected(tried: String, error: &tokio_postgres::Error) -> OpenError {
    let why = words(error);
    let Some(state) = error.code() else {
        return if is_tls(error) {
            OpenError::Tls { tried, why }
        } else if error.to_string().starts_with("authentication error")
            || error.to_string().starts_with("invalid configuration")
        {
            OpenError::SignIn { tried, why }
        } else {
            OpenError::Unreachable { tried, why }
        };
    };
    match *state {
        SqlState::INVALID_CATALOG_NAME => OpenError::NoDatabase { tried },
        SqlState::INVALID_PASSWORD
        | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        | SqlState::INSUFFICIENT_PRIVILEGE => OpenError::SignIn { tried, why },
        SqlState::CANNOT_CONNECT_NOW | SqlState::TOO_MANY_CONNECTIONS => {
            OpenError::Unreachable { tried, why }
        }
        _ => OpenError::Failed { tried, why },
    }
}

/// Whether the server refuses what it was given for what it is: the values, a
/// constraint or trigger that they break, or a limit that they exceed. What
/// has to do with the server's state or our rights is none of it.
pub(super) fn is_of_the_data(error: &tokio_postgres::Error) -> bool {
    let Some(state) = error.code() else {
        // A value that cannot even be sent.
        return error.to_string().starts_with("error serializing parameter");
    };
    *state == SqlState::PROGRAM_LIMIT_EXCEEDED
        || *state == SqlState::RAISE_EXCEPTION
        // Too many rows, bad values, constraints, views' checks.
        || matches!(state.code().get(..2), Some("21" | "22" | "23" | "44"))
}

/// Whether TLS was what failed.
pub(super) fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS handshake")
}

/// An error and its causes in one line; the server's own words where there are any.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let detail = db.detail().map(|it| format!(" ({it})")).unwrap_or_default();
        return format!("{}{detail}", db.message());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
