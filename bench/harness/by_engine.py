"""Row 13: the same history on each database."""

import json
import subprocess

from harness.engines import Postgres, Timescale
from harness.processes import Bench

DEVICES, DAYS, PERIOD_S = 40, 30, 60


def compare(bench: Bench) -> dict:
    figures = {"SQLite": _load(bench, "--dir", bench.new_folder("sqlite"))}
    postgres = Postgres(bench.new_folder("postgres"))
    bench.running.append(postgres)
    before_s = postgres.cpu_s()
    figures["PostgreSQL"] = _load(bench, "--database", postgres.url)
    samples = _samples(bench)
    figures["PostgreSQL"]["serverCpuSPer100k"] = round((postgres.cpu_s() - before_s) / samples * 100_000, 3)
    bench.stop_all()
    timescale = Timescale(bench.new_folder("timescale"), bench.repository)
    bench.running.append(timescale)
    figures["TimescaleDB (WebAssembly)"] = _load(bench, "--database", timescale.url)
    return {"samples": samples} | figures


def _samples(bench: Bench) -> int:
    return _devices(bench) * DAYS * 86_400 // PERIOD_S


def _devices(bench: Bench) -> int:
    return bench.scaled(DEVICES)


def _load(bench: Bench, *where: object) -> dict:
    loader = bench.repository / "target" / "release" / "examples" / "history_load"
    command = [loader, "--devices", _devices(bench), "--days", DAYS, "--period-s", PERIOD_S, "--charts", 200, *where]
    done = subprocess.run([str(it) for it in command], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout.splitlines()[-1])
    return {key: value for key, value in report.items() if key != "engine"}
