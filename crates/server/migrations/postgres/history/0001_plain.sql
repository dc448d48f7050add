-- Hours in real units, for people's own SQL: sums of the quarter-hours.
CREATE VIEW telemetry_hourly AS
SELECT
    devices.id AS device_id,
    quarters.hour AS ts,
    quarters.socket AS socket_id,
    sum(quarters.count)::int8 AS samples,
    (sum(quarters.power_dwms) / nullif(sum(quarters.covered_ms), 0))::float8 / 10 AS power_w,
    min(quarters.power_min_dw) / 10.0::float8 AS power_min_w,
    max(quarters.power_max_dw) / 10.0::float8 AS power_max_w,
    (sum(quarters.metered_dwh + quarters.bridged_dwh + quarters.reset_dwh)::float8
        + sum(quarters.integrated_dwms)::float8 / 3600000) / 10 AS energy_wh
FROM quarters
JOIN devices ON devices.key = quarters.device
GROUP BY devices.id, quarters.hour, quarters.socket;
