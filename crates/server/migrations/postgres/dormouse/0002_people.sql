-- People, their sessions, API tokens and the audit log.
CREATE TABLE users (
    id              int8        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text        NOT NULL,
    -- The name in lower case: names differ by more than case.
    name_key        text        COLLATE "C" NOT NULL UNIQUE,
    role            text        NOT NULL,
    scope           text        NOT NULL,
    password_hash   text        NOT NULL,
    version         int8        NOT NULL,
    created_at      timestamptz NOT NULL,
    last_sign_in_at timestamptz
);

CREATE TABLE sessions (
    id              int8        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         int8        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    digest          bytea       NOT NULL UNIQUE,
    -- The digest before the last rotation; good for a moment.
    previous_digest bytea       NOT NULL,
    csrf_token      text        NOT NULL,
    created_at      timestamptz NOT NULL,
    rotated_at      timestamptz NOT NULL,
    last_used_at    timestamptz NOT NULL,
    address         text,
    agent           text        NOT NULL
);

CREATE INDEX sessions_previous ON sessions (previous_digest);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE tokens (
    id           int8        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text        NOT NULL,
    digest       bytea       NOT NULL UNIQUE,
    role         text        NOT NULL,
    scope        text        NOT NULL,
    created_by   text        NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE audit (
    -- A UUIDv7: in order of time.
    id         uuid        PRIMARY KEY,
    ts         timestamptz NOT NULL,
    actor_kind text        NOT NULL,
    actor_name text,
    address    text,
    action     text        NOT NULL,
    target     text        NOT NULL,
    data       json        NOT NULL
);

CREATE INDEX audit_ts ON audit (ts);
CREATE INDEX audit_target ON audit (target, id);
CREATE INDEX audit_actor ON audit (actor_name, id);
