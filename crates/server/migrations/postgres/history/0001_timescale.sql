-- Days of samples and minutes are chunks; a year's quarter-hours are thirteen.
SELECT create_hypertable('samples', by_range('ts', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('minutes', by_range('ts', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('quarters', by_range('hour', INTERVAL '28 days'), create_default_indexes => false);

-- Compressed by our own timer; there are no policies.
ALTER TABLE samples SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'device, socket', timescaledb.compress_orderby = 'ts');
ALTER TABLE minutes SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'device, socket', timescaledb.compress_orderby = 'ts');
ALTER TABLE quarters SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'device, socket', timescaledb.compress_orderby = 'hour, quarter');

-- Hours in real units, for people's own SQL: sums of the quarter-hours, those
-- that are not in the aggregate yet included.
CREATE MATERIALIZED VIEW telemetry_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    devices.id AS device_id,
    time_bucket(INTERVAL '1 hour', quarters.hour) AS ts,
    quarters.socket AS socket_id,
    sum(quarters.count)::int8 AS samples,
    (sum(quarters.power_dwms) / nullif(sum(quarters.covered_ms), 0))::float8 / 10 AS power_w,
    min(quarters.power_min_dw) / 10.0::float8 AS power_min_w,
    max(quarters.power_max_dw) / 10.0::float8 AS power_max_w,
    (sum(quarters.metered_dwh + quarters.bridged_dwh + quarters.reset_dwh)::float8
        + sum(quarters.integrated_dwms)::float8 / 3600000) / 10 AS energy_wh
FROM quarters
JOIN devices ON devices.key = quarters.device
GROUP BY devices.id, time_bucket(INTERVAL '1 hour', quarters.hour), quarters.socket
WITH NO DATA;
