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
    /// The database cannot keep every text.
    #[error(
        "database.url: the database at {tried} has the encoding {found}; Dormouse needs UTF8: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// Host, port and database.
        tried: String,
        /// Its encoding.
        found: String,
    },
    /// The URL's own options, or a proxy in between, want another isolation.
    #[error(
        "database.url: default_transaction_isolation is '{found}', but it must be 'read committed': leave it out of the URL's options"
    )]
    Isolation {
        /// What it is.
        found: String,
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

/// What a failed statement says about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no connection, or no more of them: later may work.
    Away,
    /// It is there, but takes nothing in: somebody must make room, or make it
    /// writable.
    Refusing,
    /// It met another statement; the same again may work.
    Conflict,
    /// It refuses what it was given for what it is: the values, a constraint or
    /// trigger that they break, or a limit that they exceed.
    Data,
    /// Anything else, such as our rights or too much time.
    Statement,
}

impl Failure {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(state) => Self::of_state(state),
            // A value that cannot even be sent.
            None if error.to_string().starts_with("error serializing parameter") => Self::Data,
            None => Self::Away,
        }
    }

    fn of_state(state: &SqlState) -> Self {
        match *state {
            SqlState::TOO_MANY_CONNECTIONS => return Self::Away,
            SqlState::READ_ONLY_SQL_TRANSACTION => return Self::Refusing,
            SqlState::T_R_SERIALIZATION_FAILURE
            | SqlState::T_R_DEADLOCK_DETECTED
            | SqlState::LOCK_NOT_AVAILABLE => return Self::Conflict,
            SqlState::PROGRAM_LIMIT_EXCEEDED | SqlState::RAISE_EXCEPTION => return Self::Data,
            // A statement that took too long, or that somebody cancelled.
            SqlState::QUERY_CANCELED => return Self::Statement,
            _ => {}
        }
        match state.code().get(..2) {
            Some("08" | "57") => Self::Away,
            Some("53" | "58") => Self::Refusing,
            // Too many rows, bad values, constraints, views' checks.
            Some("21" | "22" | "23" | "44") => Self::Data,
            _ => Self::Statement,
        }
    }
}

/// A statement's failure in the server's own words.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct StatementError {
    words: String,
    pub(super) failure: Failure,
}

impl StatementError {
    pub(super) fn new(error: &tokio_postgres::Error) -> Self {
        Self {
            words: words(error),
            failure: Failure::of(error),
        }
    }
}

/// Whether TLS was what failed.
pub(super) fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS handshake")
}

/// An error and its causes in one line; the server's own words where there are any.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let detail = db.detail().map(|it| format!(" ({it})")).unwrap_or_default();
        let hint = match *db.code() {
            SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => {
                "; a proxy in between must pool by session"
            }
            _ => "",
        };
        return format!("{}{detail}{hint}", db.message());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_waiting_repeating_or_somebody_helps() {
        for (failure, codes) in [
            // Connection lost, too many of them, shut down, starting up.
            (Failure::Away, ["08006", "53300", "57P01", "57P03"]),
            // Disk full, out of memory, a standby, an input or output error.
            (Failure::Refusing, ["53100", "53200", "25006", "58030"]),
            // Serialization, deadlock, a lock that was not to be had.
            (Failure::Conflict, ["40001", "40P01", "55P03", "40001"]),
            // A value out of range, a constraint, a limit, a trigger.
            (Failure::Data, ["22003", "23505", "54000", "P0001"]),
            // Cancelled, no right, no table, a syntax error.
            (Failure::Statement, ["57014", "42501", "42P01", "42601"]),
        ] {
            for code in codes {
                let found = Failure::of_state(&SqlState::from_code(code));
                assert_eq!(found, failure, "{code}");
            }
        }
    }
}
