//! What every session has, whatever the server, the database or the role have
//! set for themselves.

use tokio_postgres::{Client, Error};

/// How long the server works on one statement at most.
const STATEMENT_MS: &str = "30000";
/// How long a statement waits for a lock at most.
const LOCK_MS: &str = "10000";
/// How long a transaction may sit idle until the server ends its session, so
/// that a node that froze keeps nobody waiting.
const IDLE_IN_TRANSACTION_MS: &str = "15000";

/// Settings and what they are here. Locks are taken first and then what they
/// guard is read, which is right only where each statement sees what was
/// committed before it; patterns in statements have backslashes. A setting that a server does not know is left out.
const SETTINGS: [(&str, &str); 9] = [
    ("statement_timeout", STATEMENT_MS),
    ("lock_timeout", LOCK_MS),
    (
        "idle_in_transaction_session_timeout",
        IDLE_IN_TRANSACTION_MS,
    ),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
    ("timezone", "UTC"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_isolation", "read committed"),
    ("synchronous_commit", "on"),
];

/// Sets them, but for those that the URL's own options name. A database that
/// waits for more than its own disk (`remote_apply`) or is content with less
/// of a standby (`local`) goes on so; only `off` would lose what was
/// acknowledged.
const SET: &str = "SELECT count(set_config(s.name, it.value, false))
    FROM unnest($1::text[], $2::text[]) AS it(name, value)
    JOIN pg_settings AS s ON lower(s.name) = it.name
    WHERE s.source <> 'client' AND (s.name <> 'synchronous_commit' OR s.setting = 'off')";

/// Makes a new connection what every session is.
pub(super) async fn prepare(client: &Client) -> Result<(), Error> {
    let (names, values): (Vec<_>, Vec<_>) = SETTINGS.into_iter().unzip();
    client.query_one(SET, &[&names, &values]).await.map(drop)
}
