-- What happened. device_id is kept beside the key: an event outlives its
-- device. severity: 0 info, 1 warning, 2 critical.
CREATE TABLE events (
    id          uuid        PRIMARY KEY,
    ts          timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    device_key  int4,
    device_id   text        COLLATE "C",
    socket      int2,
    type        text        COLLATE "C" NOT NULL,
    severity    int2        NOT NULL,
    origin_kind text        NOT NULL,
    origin_name text,
    data        json        NOT NULL
);

CREATE INDEX events_by_time ON events (ts, id);
CREATE INDEX events_by_device ON events (device_id, ts, id) WHERE device_id IS NOT NULL;
CREATE INDEX events_by_type ON events (type, ts, id);
CREATE INDEX events_by_age ON events (received_at);

-- Which event is each device's last change of presence; pruning spares it.
CREATE TABLE last_presence (
    device_key  int4        PRIMARY KEY,
    event_id    uuid        NOT NULL,
    received_at timestamptz NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX last_presence_event ON last_presence (event_id);

-- Devices of one place that went together. devices is an object from id to
-- the time (unix ms) at which the device was back, or null.
CREATE TABLE incidents (
    id         uuid        PRIMARY KEY,
    location   text        NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    devices    json        NOT NULL
);

CREATE INDEX incidents_by_time ON incidents (started_at, id);
CREATE INDEX incidents_open ON incidents (started_at, id) WHERE ended_at IS NULL;
