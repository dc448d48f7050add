-- What happened. The key orders a list newest first when read backwards; ids
-- are UUIDs of 16 bytes. Times are unix ms. device_id is kept beside the key:
-- an event outlives its device.
CREATE TABLE events (
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    ts INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    device_key INTEGER,
    device_id TEXT,
    socket INTEGER,
    type TEXT NOT NULL,
    severity INTEGER NOT NULL,
    origin_kind TEXT NOT NULL,
    origin_name TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (ts, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_by_device ON events (device_id, ts, id) WHERE device_id IS NOT NULL;
CREATE INDEX events_by_type ON events (type, ts, id);
CREATE INDEX events_by_age ON events (received_at);

-- Which event is each device's last change of presence; pruning spares it.
CREATE TABLE last_presence (
    device_key INTEGER PRIMARY KEY,
    ts INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

-- Devices of one place that went together. devices is a JSON object from id to
-- the time (unix ms) at which the device was back, or null.
CREATE TABLE incidents (
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    location TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    devices TEXT NOT NULL,
    PRIMARY KEY (started_at, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX incidents_open ON incidents (started_at, id) WHERE ended_at IS NULL;
