-- One row per sample. `at` packs the series and the time into one 64-bit key:
--   at = (device * 33 + socket) << 41 | milliseconds since 2020-01-01.
-- A series is contiguous and in order of time, at one integer per row.
CREATE TABLE samples (
    at INTEGER PRIMARY KEY,
    power_dw INTEGER,           -- 0.1 W
    voltage_off_dv INTEGER,     -- 0.1 V above 230.0 V: a byte less than the whole
    current_ma INTEGER,         -- 1 mA
    energy_dwh INTEGER,         -- 0.1 Wh, the device's counter
    power_factor_centi INTEGER  -- 0.01
);

-- Samples as they came, until enough of each series are together to be moved
-- into `samples`: appended at the end, they dirty few pages however many
-- devices report. A sample is in one of the two tables, never in both.
CREATE TABLE recent (
    n INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    socket INTEGER NOT NULL,
    ts INTEGER NOT NULL,        -- unix ms
    power_dw INTEGER,
    voltage_dv INTEGER,
    current_ma INTEGER,
    energy_dwh INTEGER,
    power_factor_centi INTEGER
);

-- Rollups of what is in `samples`. `at` = series << 26 | minutes (or quarters
-- of an hour) since 2020-01-01.
CREATE TABLE minutes (
    at INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    covered_ms INTEGER NOT NULL,
    power_dwms INTEGER NOT NULL,      -- 0.1 W * 1 ms
    power_min_dw INTEGER,
    power_max_dw INTEGER,
    metered_dwh INTEGER NOT NULL,     -- energy by cause
    bridged_dwh INTEGER NOT NULL,
    reset_dwh INTEGER NOT NULL,
    rolled_back_dwh INTEGER NOT NULL, -- does not count
    implausible_dwh INTEGER NOT NULL, -- does not count
    integrated_dwms INTEGER NOT NULL
);

CREATE TABLE quarters (
    at INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    covered_ms INTEGER NOT NULL,
    power_dwms INTEGER NOT NULL,
    power_min_dw INTEGER,
    power_max_dw INTEGER,
    metered_dwh INTEGER NOT NULL,
    bridged_dwh INTEGER NOT NULL,
    reset_dwh INTEGER NOT NULL,
    rolled_back_dwh INTEGER NOT NULL,
    implausible_dwh INTEGER NOT NULL,
    integrated_dwms INTEGER NOT NULL
);

-- Local days of the site: `at` = days since 1970-01-01 << 23 | series, so that
-- one day of the whole fleet is contiguous.
CREATE TABLE days (
    at INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    covered_ms INTEGER NOT NULL,
    power_dwms INTEGER NOT NULL,
    power_min_dw INTEGER,
    power_max_dw INTEGER,
    metered_dwh INTEGER NOT NULL,
    bridged_dwh INTEGER NOT NULL,
    reset_dwh INTEGER NOT NULL,
    rolled_back_dwh INTEGER NOT NULL,
    implausible_dwh INTEGER NOT NULL,
    integrated_dwms INTEGER NOT NULL
);

-- Single values: the journal's position, the generation of `recent`, floors of
-- retention, the time zone that `days` was made with.
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;

-- What recognises repeated messages of each device after a restart.
CREATE TABLE inboxes (
    device INTEGER PRIMARY KEY,
    state BLOB NOT NULL
);

-- From when on a device reports with which period.
CREATE TABLE periods (
    device INTEGER NOT NULL,
    since INTEGER NOT NULL,     -- unix ms
    period_ms INTEGER,
    PRIMARY KEY (device, since)
) WITHOUT ROWID;

-- Every sample in real units, for people's own SQL.
CREATE VIEW telemetry AS
SELECT
    ((at >> 41) & 8388607) / 33 AS device_key,
    ((at >> 41) & 8388607) % 33 AS socket_id,
    (at & 2199023255551) + 1577836800000 AS ts,
    power_dw / 10.0 AS power_w,
    (voltage_off_dv + 2300) / 10.0 AS voltage_v,
    current_ma / 1000.0 AS current_a,
    energy_dwh / 10.0 AS energy_wh,
    power_factor_centi / 100.0 AS power_factor
FROM samples
UNION ALL
SELECT device, socket, ts, power_dw / 10.0, voltage_dv / 10.0, current_ma / 1000.0,
    energy_dwh / 10.0, power_factor_centi / 100.0
FROM recent;
