//! Whether a server will do.

use tokio_postgres::Client;

use super::OpenError;
use super::error::words;

/// The oldest server that will do, as `server_version_num`.
const OLDEST: i32 = 150_000;
/// The one encoding that can keep every text.
const ENCODING: &str = "UTF8";
/// The one isolation that what nodes do at once is written for.
const ISOLATION: &str = "read committed";

const FACTS: &str = "SELECT current_setting('server_version_num')::int4,
    current_setting('server_version'), current_schema()::text, current_setting('search_path'),
    current_user::text,
    coalesce(has_schema_privilege(current_schema(), 'CREATE')
             AND has_schema_privilege(current_schema(), 'USAGE'), false),
    pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
    current_setting('server_encoding'), current_setting('default_transaction_isolation')";

/// What a server says of itself and of us.
#[derive(Debug, Clone)]
struct Facts {
    version: i32,
    version_name: String,
    schema: Option<String>,
    path: String,
    role: String,
    may_create: bool,
    read_only: bool,
    encoding: String,
    isolation: String,
}

/// Whether the server will do, and lets us make tables.
pub(super) async fn check(client: &Client, tried: &str) -> Result<(), OpenError> {
    let row = client.query_one(FACTS, &[]).await;
    let row = row.map_err(|error| OpenError::Failed {
        tried: tried.to_owned(),
        why: words(&error),
    })?;
    let facts = Facts {
        version: row.get(0),
        version_name: row.get(1),
        schema: row.get(2),
        path: row.get(3),
        role: row.get(4),
        may_create: row.get(5),
        read_only: row.get(6),
        encoding: row.get(7),
        isolation: row.get(8),
    };
    judge(facts, tried.to_owned())
}

fn judge(facts: Facts, tried: String) -> Result<(), OpenError> {
    if facts.version < OLDEST {
        let found = facts.version_name;
        return Err(OpenError::TooOld { tried, found });
    }
    if facts.read_only {
        return Err(OpenError::ReadOnly { tried });
    }
    if facts.encoding != ENCODING {
        let found = facts.encoding;
        return Err(OpenError::Encoding { tried, found });
    }
    if facts.isolation != ISOLATION {
        let found = facts.isolation;
        return Err(OpenError::Isolation { found });
    }
    let Some(schema) = facts.schema else {
        let path = facts.path;
        return Err(OpenError::NoSchema { tried, path });
    };
    if facts.may_create {
        return Ok(());
    }
    let role = facts.role;
    Err(OpenError::NoRights {
        tried,
        role,
        schema,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_named() {
        let facts = Facts {
            version: 140_012,
            version_name: "14.12 (Debian)".to_owned(),
            schema: Some("public".to_owned()),
            path: "public".to_owned(),
            role: "iot".to_owned(),
            may_create: true,
            read_only: false,
            encoding: ENCODING.to_owned(),
            isolation: ISOLATION.to_owned(),
        };
        let error = judge(facts.clone(), "db:5432/site".to_owned()).unwrap_err();
        let message = error.to_string();
        for word in ["database.url", "db:5432/site", "14.12", "15 or later"] {
            assert!(message.contains(word), "{message}");
        }
        let version = OLDEST;
        judge(Facts { version, ..facts }, "db:5432/site".to_owned()).unwrap();
    }
}
