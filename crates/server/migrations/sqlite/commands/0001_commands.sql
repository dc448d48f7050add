-- One row per command. Ids are UUIDv7, so that rows are added at the end.
CREATE TABLE command (
    id           BLOB    NOT NULL PRIMARY KEY,
    device       INTEGER NOT NULL,
    device_id    TEXT    NOT NULL,
    socket       INTEGER NOT NULL,
    action       TEXT    NOT NULL,
    off_ms       INTEGER,
    timeout_ms   INTEGER NOT NULL,
    origin       TEXT    NOT NULL,
    batch        BLOB,
    item         INTEGER,
    created_at   INTEGER NOT NULL,
    deadline_at  INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    -- success: 'acked', 'inferred'; failed: 'refused', 'not-sent';
    -- cancelled: 'asked', 'replaced'
    how          TEXT,
    reason       TEXT,
    replaced_by  BLOB,
    published_at INTEGER,
    settled_at   INTEGER,
    late         TEXT,
    late_at      INTEGER
) WITHOUT ROWID;

CREATE INDEX command_of_device ON command (device, id);

-- The rule itself: one pending command per device and socket.
CREATE UNIQUE INDEX command_pending ON command (device, socket)
    WHERE state = 'pending';

CREATE TABLE batch (
    id           BLOB    NOT NULL PRIMARY KEY,
    action       TEXT    NOT NULL,
    off_ms       INTEGER,
    timeout_ms   INTEGER NOT NULL,
    on_pending   TEXT    NOT NULL,
    send_offline INTEGER NOT NULL,
    origin       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) WITHOUT ROWID;

-- An item waits while it has neither a command nor a refusal.
CREATE TABLE batch_item (
    batch     BLOB    NOT NULL,
    item      INTEGER NOT NULL,
    device    INTEGER NOT NULL,
    device_id TEXT    NOT NULL,
    socket    INTEGER NOT NULL,
    command   BLOB,
    refusal   TEXT,
    PRIMARY KEY (batch, item)
) WITHOUT ROWID;

CREATE INDEX batch_item_waiting ON batch_item (batch)
    WHERE command IS NULL AND refusal IS NULL;

CREATE TABLE idempotency_key (
    caller      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    command     BLOB,
    batch       BLOB,
    used_at     INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;

CREATE INDEX idempotency_key_age ON idempotency_key (used_at);
