"""Rows 1, 3, 5 and 12: samples in."""

import sqlite3
import time

from harness.machine import fdatasync_ms
from harness.processes import Bench, Server, until

BACKDATE_S = 600  # stamps may run ahead of the clock when few devices publish very fast


def stored(server: Server) -> int:
    """How many samples are in history, read past the server."""
    with sqlite3.connect(f"file:{server.data / 'history.db'}?mode=ro", uri=True) as history:
        query = "SELECT (SELECT coalesce(sum(count), 0) FROM days) + (SELECT count(*) FROM recent)"
        return history.execute(query).fetchone()[0]


def durable(bench: Bench) -> dict:
    alone = reference(bench)
    bench.stop_all()
    count = bench.scaled(3_000_000)
    server = bench.server()
    credentials = server.add_devices(1_000)
    before_s = server.cpu_s()
    load = bench.sim(server.mqtt, "--credentials", credentials, "--load", "--count", count, "--backdate-s", BACKDATE_S)
    result = load.result()
    acknowledged_at = time.monotonic()
    until(lambda: stored(server) >= result["acknowledged"], "all samples are in history")
    drain_s = time.monotonic() - acknowledged_at
    spent_s = server.cpu_s() - before_s
    total_s = result["elapsedS"] + drain_s
    per_s = count / total_s
    return {
        "samplesPerS": round(per_s),
        "acknowledgedPerS": result["acknowledgedPerS"],
        "stored": stored(server),
        "lost": result["acknowledged"] - stored(server),
        "drainAfterLastAckS": round(drain_s, 2),
        "serverCpuSPer100k": round(spent_s / count * 100_000, 3),
        "generatorCpuSPer100k": result["cpuSPer100k"],
        "serverRssMb": server.rss_mb(),
        "pubackMs": result["pubackMs"],
        "errors": result["errors"],
        "mosquitto": alone,
        "timesMosquitto": round(per_s / alone["endToEndPerS"], 2),
        "fdatasyncMs": fdatasync_ms(bench.folder),
    }


def reference(bench: Bench) -> dict:
    count = bench.scaled(600_000)
    broker = bench.mosquitto()
    sink = bench.sim(broker.address, "--password", "x", "--devices", 1, "--prefix", "sink-", "--sink")
    sink.line()
    before_s = broker.cpu_s()
    load = bench.sim(broker.address, "--password", "x", "--devices", 1_000, "--prefix", "bench-", "--load", "--count", count)
    result = load.result()
    last_s, still = sink.cpu_s(), 0
    while still < 5:  # the subscriber has everything once it has stopped working
        time.sleep(0.2)
        now_s = sink.cpu_s()
        last_s, still = now_s, still + 1 if now_s == last_s else 0
    cpu_s = broker.cpu_s() - before_s
    sink.process.send_signal(2)
    received = sink.result()
    return {
        "endToEndPerS": received["receivedPerS"],
        "acknowledgedPerS": result["acknowledgedPerS"],
        "received": received["received"],
        "published": count,
        "brokerCpuSPer100k": round(cpu_s / count * 100_000, 3),
        "subscriberCpuSPer100k": round(received["cpuS"] / max(1, received["received"]) * 100_000, 3),
        "generatorCpuSPer100k": result["cpuSPer100k"],
    }


def latency(bench: Bench) -> dict:
    server = bench.server()
    credentials = server.add_devices(1_000)
    disk = fdatasync_ms(bench.folder)
    before_s = server.cpu_s()
    duration_s = bench.scaled(20)
    result = bench.sim(
        server.mqtt, "--credentials", credentials, "--load", "--rate", 5_000, "--duration-s", duration_s
    ).result()
    spent_s = server.cpu_s() - before_s
    return {
        "samplesPerS": result["acknowledgedPerS"],
        "pubackMs": result["pubackMs"],
        "fdatasyncMs": disk,
        "goalP50Ms": round(2 * disk["p50"] + 1, 2),
        "serverCpuSPer100k": round(spent_s / max(1, result["acknowledged"]) * 100_000, 3),
        "errors": result["errors"],
    }


def live(bench: Bench) -> dict:
    server = bench.server()
    credentials = server.add_devices(1_000)
    duration_s = bench.scaled(20)
    load = bench.sim(
        server.mqtt, "--credentials", credentials, "--load", "--rate", 5_000, "--duration-s", duration_s + 6
    )
    time.sleep(2)
    watch = bench.people(server, "watch", "--duration-s", duration_s)
    watch.line()
    watched = watch.result()
    result = load.result()
    return {
        "samplesPerS": result["acknowledgedPerS"],
        "samplesSeenPerS": round(watched["samples"] / duration_s),
        "ageMs": watched["ageMs"],
        "pubackMs": result["pubackMs"],
    }


def growth(bench: Bench) -> dict:
    figures = {}
    duration_s = bench.scaled(15)
    for devices in (10, 100, 1_000, 10_000):
        server = bench.server()
        credentials = server.add_devices(devices)
        load = bench.sim(
            server.mqtt, "--credentials", credentials, "--load", "--rate", 20_000, "--window", 1_000 if devices < 100 else 20,
            "--duration-s", duration_s, "--backdate-s", BACKDATE_S, "--status-period-s", 5,
        )
        # Connecting is not part of the cost of a sample.
        until(lambda: stored(server) > 0, "the first sample is in history")
        (before_s, before) = (server.cpu_s(), stored(server))
        result = load.result()
        until(lambda: stored(server) >= result["acknowledged"], "all samples are in history")
        spent_s = server.cpu_s() - before_s
        figures[f"{devices} devices"] = {
            "serverCpuSPer100k": round(spent_s / (stored(server) - before) * 100_000, 3),
            "samplesPerS": result["acknowledgedPerS"],
            "pubackP99Ms": result["pubackMs"]["p99"],
        }
        bench.stop_all()
    costs = [figure["serverCpuSPer100k"] for figure in figures.values()]
    figures["dearest / cheapest"] = round(max(costs) / max(min(costs), 1e-9), 2)
    return figures
