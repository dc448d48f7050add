-- People, their sessions, API tokens and the audit log. Times are unix ms.
CREATE TABLE users (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    name            TEXT    NOT NULL,
    -- The name in lower case: names differ by more than case.
    name_key        TEXT    NOT NULL UNIQUE,
    role            TEXT    NOT NULL,
    scope           TEXT    NOT NULL,
    password_hash   TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    last_sign_in_at INTEGER
) STRICT;

CREATE TABLE sessions (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id         INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest          BLOB    NOT NULL UNIQUE,
    -- The digest before the last rotation; good for a moment.
    previous_digest BLOB    NOT NULL,
    csrf_token      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    rotated_at      INTEGER NOT NULL,
    last_used_at    INTEGER NOT NULL,
    address         TEXT,
    agent           TEXT    NOT NULL
) STRICT;

CREATE INDEX sessions_previous ON sessions (previous_digest);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL,
    digest       BLOB    NOT NULL UNIQUE,
    role         TEXT    NOT NULL,
    scope        TEXT    NOT NULL,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER
) STRICT;

CREATE TABLE audit (
    -- A UUIDv7: in order of time.
    id         BLOB    PRIMARY KEY,
    ts         INTEGER NOT NULL,
    actor_kind TEXT    NOT NULL,
    actor_name TEXT,
    address    TEXT,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    data       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_ts ON audit (ts);
CREATE INDEX audit_target ON audit (target, id);
CREATE INDEX audit_actor ON audit (actor_name, id);
