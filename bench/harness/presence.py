"""Rows 9, 10 and 11: starting, coming back, going away."""

import csv

from harness.processes import Bench

PERIOD_S = 5
OFFLINE_AFTER_MS = 15_000  # max(10 s, 3 × period)


def start(bench: Bench) -> dict:
    empty = []
    for _ in range(5):
        empty.append(bench.server().ready_s)
        bench.stop_all()
    server = bench.server()
    server.add_devices(10_000)
    server.stop()
    full = []
    for _ in range(5):
        again = bench.server(server.data)
        full.append(again.ready_s)
        again.stop()
    return {
        "emptyBestS": min(empty),
        "emptyWorstS": max(empty),
        "with10000DevicesBestS": min(full),
        "with10000DevicesWorstS": max(full),
    }


def storm(bench: Bench) -> dict:
    server = bench.server()
    credentials = server.add_devices(bench.scaled(10_000))
    before_s = server.cpu_s()
    storm = bench.sim(server.mqtt, "--credentials", credentials, "--storm", "--status-period-s", PERIOD_S)
    result = storm.line()
    spent_s = server.cpu_s() - before_s
    online = _online(server)
    storm.stop()
    return {
        "heard": result["heard"],
        "onlineInApi": online,
        "allConnectedS": round(result["allConnectedMs"] / 1000, 2),
        "allHeardS": round(result["allHeardMs"] / 1000, 2),
        "connackMs": result["connackMs"],
        "failedAttempts": result["errors"]["connect"],
        "serverCpuS": round(spent_s, 2),
        "generatorCpuS": round(result["cpuS"], 2),
    }


def _online(server) -> int:
    """How many devices the server itself says are online."""
    return server.get("/api/v1/stats/fleet")["online"]


def offline(bench: Bench) -> dict:
    devices = bench.scaled(10_000)
    server = bench.server()
    credentials = server.add_devices(devices)
    record = server.data.parent / "record.csv"
    changes = server.data.parent / "presence.csv"
    # After its own start the server declares nobody offline for 30 s: report well past that.
    duration_s, silence_s = 45, 25
    load = bench.sim(
        server.mqtt, "--credentials", credentials, "--load", "--rate", devices / PERIOD_S, "--duration-s", duration_s,
        "--status-period-s", PERIOD_S, "--linger-s", silence_s, "--record", record,
    )
    watch = bench.people(server, "watch", "--duration-s", duration_s + silence_s - 2, "--topic", "events", "--topic", "fleet", "--presence", changes)
    watch.line()
    watch.result()
    load.result()
    last = {}
    with record.open() as file:
        for device, _, stamp in csv.reader(file):
            last[device] = max(last.get(device, 0), int(stamp))
    lateness, false = [], 0
    with changes.open() as file:
        for device, kind, at in csv.reader(file):
            if kind == "DEVICE_OFFLINE" and device in last:
                late = int(at) - last[device] - OFFLINE_AFTER_MS
                # Stamps are rounded down to whole milliseconds and taken before sending.
                false += late < -1
                lateness.append(late)
    lateness.sort()
    pick = lambda share: lateness[min(len(lateness) - 1, int(len(lateness) * share))] if lateness else None
    return {
        "declared": len(lateness),
        "expected": len(last),
        "false": false,
        "lateP50Ms": pick(0.5),
        "lateP99Ms": pick(0.99),
        "lateMaxMs": lateness[-1] if lateness else None,
    }
