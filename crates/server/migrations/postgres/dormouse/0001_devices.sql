-- Devices: tombstones stay, so that keys are never used again.
CREATE TABLE devices (
    key        int4        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text        COLLATE "C" NOT NULL,
    state      text        NOT NULL CHECK (state IN ('pending', 'active', 'rejected', 'deleted')),
    name       text        NOT NULL,
    location   text        NOT NULL,
    sockets    int2,
    period_s   int8,
    -- How it may sign in; salt and hash are null where there are no credentials.
    access     text        NOT NULL CHECK (access IN ('none', 'joining', 'credentials')),
    salt       bytea       CHECK (octet_length(salt) = 12),
    hash       bytea       CHECK (octet_length(hash) = 64),
    version    int8        NOT NULL,
    -- Rises over all devices with each write, in the order of the commits.
    revision   int8        NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE UNIQUE INDEX devices_id ON devices (id) WHERE state <> 'deleted';
CREATE UNIQUE INDEX devices_revision ON devices (revision);

-- Each device's last report of itself: written often, so beside its device.
CREATE TABLE device_reports (
    device_key  int4        PRIMARY KEY,
    received_at timestamptz NOT NULL,
    reported    json        NOT NULL
) WITH (fillfactor = 60);

CREATE TABLE settings (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- Accounts at an external broker that are not devices.
CREATE TABLE broker_accounts (
    username text  COLLATE "C" PRIMARY KEY,
    salt     bytea NOT NULL CHECK (octet_length(salt) = 12),
    hash     bytea NOT NULL CHECK (octet_length(hash) = 64)
);

-- Who may sign in at a broker that asks this database. password_hash is the
-- hexadecimal SHA-512 of the password followed by the salt. A device that
-- joined and was handed nothing yet signs in with the join key.
CREATE VIEW mqtt_credentials AS
SELECT username, encode(hash, 'hex') AS password_hash, convert_from(salt, 'UTF8') AS salt,
       false AS is_superuser
FROM broker_accounts
UNION ALL
SELECT id, encode(hash, 'hex'), convert_from(salt, 'UTF8'), false
FROM devices
WHERE state = 'active' AND access <> 'none' AND hash IS NOT NULL
  AND id NOT IN (SELECT username FROM broker_accounts)
UNION ALL
SELECT d.id, encode(sha512(convert_to(k.value || 'join-key', 'UTF8')), 'hex'), 'join-key', false
FROM devices d
JOIN settings k ON k.name = 'join-key'
WHERE d.access = 'joining' AND d.hash IS NULL AND d.state IN ('active', 'pending')
  AND d.id NOT IN (SELECT username FROM broker_accounts)
  AND NOT EXISTS (SELECT FROM settings m WHERE m.name = 'join-mode' AND m.value = 'closed');
