"""Row 2: samples in through Mosquitto, with Redis and PostgreSQL behind."""

import time

from harness.engines import Engines
from harness.ingest import BACKDATE_S, reference
from harness.processes import Bench, until


def durable(bench: Bench) -> dict:
    alone = reference(bench)
    bench.stop_all()
    count = bench.scaled(1_000_000)
    engines = Engines(bench)
    server = bench.server(**engines.environment)
    credentials = server.add_devices(1_000)
    before_s, engines_before_s = server.cpu_s(), engines.cpu_s()
    begun = time.monotonic()
    load = bench.sim(server.mqtt, "--credentials", credentials, "--load", "--count", count, "--backdate-s", BACKDATE_S)
    result = load.result()
    acknowledged_at = time.monotonic()
    until(lambda: _stored(engines) >= result["acknowledged"], "all samples are in history")
    total_s = time.monotonic() - begun
    spent = {name: value - engines_before_s[name] for name, value in engines.cpu_s().items()}
    kept = _stored(engines)
    figures = {
        "samplesPerS": round(count / total_s),
        "brokerAcknowledgedPerS": result["acknowledgedPerS"],
        "drainAfterLastAckS": round(time.monotonic() - acknowledged_at, 2),
        "stored": kept,
        "lost": result["acknowledged"] - kept,
        "dormouseCpuSPer100k": round((server.cpu_s() - before_s) / count * 100_000, 3),
        "dormouseRssMb": server.rss_mb(),
        "generatorCpuSPer100k": result["cpuSPer100k"],
        "pubackMs": result["pubackMs"],
        "mosquittoWithOneSubscriber": alone,
        "timesMosquitto": round(count / total_s / alone["endToEndPerS"], 2),
    }
    for name, seconds in spent.items():
        figures[f"{name}CpuSPer100k"] = round(seconds / count * 100_000, 3)
    return figures


def _stored(engines: Engines) -> int:
    time.sleep(0.25)  # counting costs the server that is measured
    return int(engines.postgres.sql("SELECT count(*) FROM telemetry"))
