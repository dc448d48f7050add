-- History, as far as it is the same with and without TimescaleDB.

-- Single values: floors of retention (unix ms), the site's time zone that
-- `days` was made with, what keeps the samples ('plain' or 'timescale').
CREATE TABLE history_facts (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- One row per device, locked by whoever takes its messages in: what recognises
-- repeats (`inbox`, with how often it was written), and the ends of its series
-- with what their newest minutes are still to add to the rollups (`tail`).
-- Rewritten with every batch: half of each page is left free for that.
CREATE TABLE intake (
    device  int4 PRIMARY KEY,
    version int8 NOT NULL DEFAULT 0,
    inbox   bytea,
    tail    bytea
) WITH (fillfactor = 50);

-- How far each node's journal is taken in.
CREATE TABLE journals (
    journal    int8 PRIMARY KEY,
    byte       int8 NOT NULL,
    written_at timestamptz NOT NULL
);

-- One row per sample, by day. Power and voltage in 0.1, current in 1 mA, the
-- device's counter in 0.1 Wh, the power factor in 0.01. Wide columns first: no
-- byte is lost to alignment.
CREATE TABLE samples (
    ts                 timestamptz NOT NULL,
    energy_dwh         int8,
    device             int4 NOT NULL,
    power_dw           int4,
    current_ma         int4,
    socket             int2 NOT NULL,
    voltage_dv         int2,
    power_factor_centi int2,
    PRIMARY KEY (device, socket, ts)
) /* BY ts */;

-- The last minutes of each series before what retention dropped: they judge
-- what comes next.
CREATE TABLE remnants (
    ts                 timestamptz NOT NULL,
    energy_dwh         int8,
    device             int4 NOT NULL,
    power_dw           int4,
    current_ma         int4,
    socket             int2 NOT NULL,
    voltage_dv         int2,
    power_factor_centi int2,
    PRIMARY KEY (device, socket, ts)
);

-- Rollups of `samples`, but for what is in `intake.tail`.
CREATE TABLE minutes (
    ts              timestamptz NOT NULL,
    power_dwms      int8 NOT NULL,      -- 0.1 W * 1 ms
    metered_dwh     int8 NOT NULL,      -- energy by cause
    bridged_dwh     int8 NOT NULL,
    reset_dwh       int8 NOT NULL,
    rolled_back_dwh int8 NOT NULL,      -- does not count
    implausible_dwh int8 NOT NULL,      -- does not count
    integrated_dwms int8 NOT NULL,
    device          int4 NOT NULL,
    count           int4 NOT NULL,
    covered_ms      int4 NOT NULL,
    power_min_dw    int4,
    power_max_dw    int4,
    socket          int2 NOT NULL,
    PRIMARY KEY (device, socket, ts)
) /* BY ts */;

-- A quarter-hour is an hour and a number from 0 to 3, so that hours of people's
-- SQL are bounded by a column.
CREATE TABLE quarters (
    hour            timestamptz NOT NULL,
    power_dwms      int8 NOT NULL,
    metered_dwh     int8 NOT NULL,
    bridged_dwh     int8 NOT NULL,
    reset_dwh       int8 NOT NULL,
    rolled_back_dwh int8 NOT NULL,
    implausible_dwh int8 NOT NULL,
    integrated_dwms int8 NOT NULL,
    device          int4 NOT NULL,
    count           int4 NOT NULL,
    covered_ms      int4 NOT NULL,
    power_min_dw    int4,
    power_max_dw    int4,
    socket          int2 NOT NULL,
    quarter         int2 NOT NULL,
    PRIMARY KEY (device, socket, hour, quarter)
) /* BY hour */;
-- One stretch of time of the whole fleet; rows come in nearly in order of time.
CREATE INDEX quarters_by_time ON quarters USING brin (hour);

-- Local days of the site.
CREATE TABLE days (
    day             date NOT NULL,
    device          int4 NOT NULL,
    power_dwms      int8 NOT NULL,
    metered_dwh     int8 NOT NULL,
    bridged_dwh     int8 NOT NULL,
    reset_dwh       int8 NOT NULL,
    rolled_back_dwh int8 NOT NULL,
    implausible_dwh int8 NOT NULL,
    integrated_dwms int8 NOT NULL,
    count           int4 NOT NULL,
    covered_ms      int4 NOT NULL,
    power_min_dw    int4,
    power_max_dw    int4,
    socket          int2 NOT NULL,
    PRIMARY KEY (device, socket, day)
) WITH (fillfactor = 80);
CREATE INDEX days_by_day ON days (day);

-- From when on a device reports with which period.
CREATE TABLE periods (
    device    int4 NOT NULL,
    since     int8 NOT NULL,     -- unix ms
    period_ms int8,
    PRIMARY KEY (device, since)
);

-- Every sample in real units, for people's own SQL. Bounds of `ts` and a
-- `device_id` lead straight to the rows.
CREATE VIEW telemetry AS
SELECT
    devices.id                                AS device_id,
    samples.ts,
    samples.socket                            AS socket_id,
    samples.power_dw / 10.0::float8           AS power_w,
    samples.voltage_dv / 10.0::float8         AS voltage_v,
    samples.current_ma / 1000.0::float8       AS current_a,
    samples.energy_dwh / 10.0::float8         AS energy_wh,
    samples.power_factor_centi / 100.0::float8 AS power_factor
FROM samples
LEFT JOIN devices ON devices.key = samples.device;
