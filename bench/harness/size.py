"""Rows 6 and 8: memory and disk."""

import time

from harness.ingest import stored
from harness.processes import Bench, until


def memory(bench: Bench) -> dict:
    server = bench.server()
    time.sleep(2)
    idle_mb = server.rss_mb()
    credentials = server.add_devices(10_000)
    time.sleep(2)
    with_devices_mb = server.rss_mb()
    idle = bench.sim(server.mqtt, "--credentials", credentials, "--idle")
    idle.line()
    connected_mb = server.rss_mb()
    idle.stop()
    bench.stop_all()

    server = bench.server()
    credentials = server.add_devices(10_000)
    duration_s = bench.scaled(180)
    load = bench.sim(
        server.mqtt, "--credentials", credentials, "--load", "--rate", 2_000, "--status-period-s", 5, "--duration-s", duration_s
    )
    largest_mb = 0.0
    while load.process.poll() is None:
        largest_mb = max(largest_mb, server.rss_mb())
        time.sleep(1)
    return {
        "idleMb": idle_mb,
        "with10000DevicesMb": with_devices_mb,
        "with10000IdleConnectionsMb": connected_mb,
        "kbPerIdleConnection": round((connected_mb - with_devices_mb) * 1024 / 10_000, 2),
        f"reportingFor{duration_s}sMb": largest_mb,
        "reportingAcknowledged": load.result()["acknowledged"],
    }


def disk(bench: Bench) -> dict:
    devices, per_device = 60, 17_280
    count = bench.scaled(devices * per_device)
    server = bench.server()
    credentials = server.add_devices(devices)
    load = bench.sim(
        server.mqtt, "--credentials", credentials, "--load", "--count", count, "--step-ms", 5_000, "--backdate-s", 86_400
    )
    result = load.result()
    until(lambda: stored(server) >= result["acknowledged"], "all samples are in history")
    server.stop()
    size = sum(path.stat().st_size for path in server.data.glob("history.db*"))
    return {"samples": count, "historyBytes": size, "bytesPerSample": round(size / count, 1)}
