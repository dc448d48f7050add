-- Devices: tombstones stay, so that keys are never used again.
CREATE TABLE devices (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'rejected', 'deleted')),
    name       TEXT    NOT NULL,
    location   TEXT    NOT NULL,
    sockets    INTEGER,
    period_s   INTEGER,
    -- How it may sign in; salt and hash are null where there are no credentials.
    access     TEXT    NOT NULL CHECK (access IN ('none', 'joining', 'credentials')),
    salt       BLOB,
    hash       BLOB,
    -- Its last report of itself, JSON.
    reported   TEXT,
    version    INTEGER NOT NULL,
    -- Rises over all devices with each write.
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX devices_id ON devices (id) WHERE state <> 'deleted';
CREATE UNIQUE INDEX devices_revision ON devices (revision);

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
